"""Errors of poses, exact or up to the symmetry of an object about its vertical axis, and the symmetry of solids.

A camera's rotation R maps the object's axes to the camera's. If the object looks the same after a rotation S about its
Y axis, ``R S`` is as right as ``R``, so the error up to a group G is the least geodesic angle::

    min over S in G of angle(R', R S)

For the continuous group the minimum is the angle between the two images of the Y axis: what is left of a rotation
without its twist about Y.

The angle is the one of ``geometry.rotations.rotation_angle``. It equals ``2 asin(|R' - R|_F / (2 sqrt 2))`` and
``|log(R^T R')|_F / sqrt 2``, which NeMo's scripts use, and is exact at 0 and at 180 degrees, where those lose digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from raylift.geometry.rotations import axis_angle_to_matrix, rotation_angle
from raylift.metrics.scores import median_of

Symmetry = Literal["none", "half_turn", "quarter_turn", "round"]
"""Symmetry about the vertical axis: none, by 180 degrees, by 90 degrees, by any angle."""
SYMMETRIES: tuple[Symmetry, ...] = get_args(Symmetry)
_TURNS_DEG: dict[Symmetry, tuple[float, ...]] = {
    "none": (0.0,),
    "half_turn": (0.0, 180.0),
    "quarter_turn": (0.0, 90.0, 180.0, 270.0),
}
_GENERATORS_DEG: dict[Symmetry, tuple[float, ...]] = {
    "round": (90.0, 45.0, 30.0),
    "quarter_turn": (90.0,),
    "half_turn": (180.0,),
}
"""By group, the largest first: turns that a solid must survive."""
LEAST_LIKENESS = 0.95
"""Likeness to its own turned copy from which a solid counts as symmetric."""
PI_6_DEG, PI_18_DEG = 30.0, 10.0


def pose_error_deg(
    predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"], symmetry: Symmetry = "none"
) -> Float[Tensor, "B"]:
    """The error up to a symmetry of the object, degrees in [0, 180], float64. A rotation with NaN is off by 180."""
    ours, theirs = predicted.double(), truth.double()
    if symmetry == "round":
        up, true_up = ours[..., 1], theirs[..., 1]
        across = torch.linalg.vector_norm(torch.linalg.cross(up, true_up), dim=-1)
        angles = torch.atan2(across, (up * true_up).sum(-1))
    else:
        turned = theirs[:, None] @ _about_y(_TURNS_DEG[symmetry])
        angles = rotation_angle(ours[:, None].expand_as(turned), turned).amin(dim=1)
    return torch.rad2deg(angles).nan_to_num(nan=180.0)


def best_constant_pose(rotations: Float[Tensor, "N 3 3"], symmetry: Symmetry = "none") -> Float[Tensor, "3 3"]:
    """The pose of some that is right for most of them: within 30 degrees, then within 10; the first wins ties.

    With uniform spread this is the constant answer that maximises the accuracy. At most 400 of them, evenly spread, are
    tried.
    """
    number = min(len(rotations), 400)
    tried = rotations.double()[torch.arange(number) * len(rotations) // number]
    scores = []
    for one in tried:
        errors = pose_error_deg(one.expand_as(rotations), rotations, symmetry)
        scores.append((int((errors < PI_6_DEG).sum()), int((errors < PI_18_DEG).sum())))
    return tried[max(range(number), key=lambda index: (scores[index], -index))]


def symmetry_of(solids: Sequence[Bool[np.ndarray, "R R R"]]) -> Symmetry:
    """The largest group under which half of a category's solids, or more, look the same; none without solids.

    Args:
        solids: voxels of a cube centred on the origin, indexed [x, y, z].
    """
    for group, turns_deg in _GENERATORS_DEG.items():
        if solids and all(
            median_of([turn_likeness(solid, angle) for solid in solids]) >= LEAST_LIKENESS for angle in turns_deg
        ):
            return group
    return "none"


def turn_likeness(solid: Bool[np.ndarray, "R R R"], angle_deg: float) -> float:
    """How much a solid is like its copy turned about Y: the F-score of their surfaces within one voxel, in [0, 1].

    Of the voxels only those at the surface count: a bed's body would hide its headboard.
    """
    ours, turned = (_surface(one) for one in (solid, _turned(solid, angle_deg)))
    if not ours.any() or not turned.any():
        return 0.0
    cube = np.ones((3, 3, 3), bool)
    found = (turned & ndimage.binary_dilation(ours, cube)).sum() / turned.sum()
    covered = (ours & ndimage.binary_dilation(turned, cube)).sum() / ours.sum()
    return float(2 * found * covered / (found + covered)) if found + covered else 0.0


def _surface(solid: Bool[np.ndarray, "R R R"]) -> Bool[np.ndarray, "R R R"]:
    """The voxels with a face to the outside."""
    return np.asarray(solid & ~ndimage.binary_erosion(solid))


def _turned(solid: Bool[np.ndarray, "R R R"], angle_deg: float) -> Bool[np.ndarray, "R R R"]:
    """The nearest voxel before the turn; turns by 90 degrees are exact."""
    side = solid.shape[0]
    axis = np.arange(side) - (side - 1) / 2
    x, z = np.meshgrid(axis, axis, indexing="ij")
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    from_x, from_z = (
        np.rint(one + (side - 1) / 2).astype(int) for one in (cosine * x - sine * z, sine * x + cosine * z)
    )
    inside = (from_x >= 0) & (from_x < side) & (from_z >= 0) & (from_z < side)
    columns = solid[from_x.clip(0, side - 1), :, from_z.clip(0, side - 1)] & inside[..., None]
    return np.ascontiguousarray(columns.transpose(0, 2, 1))


def _about_y(turns_deg: Sequence[float]) -> Float[Tensor, "G 3 3"]:
    angles = torch.deg2rad(torch.tensor(list(turns_deg), dtype=torch.float64))
    zero = torch.zeros_like(angles)
    return axis_angle_to_matrix(torch.stack([zero, angles, zero], dim=1))
