"""Rigid structure from keypoints: the 3D keypoints of a class, and the camera that an image's keypoints tell.

CMR takes its cameras and its mean shape from rigid structure from motion on annotated keypoints (Kanazawa et al. 2018,
section 2). Here: factorisation of weak-perspective measurements (Tomasi and Kanade 1992) with missing entries filled in
turn, an upgrade to orthonormal cameras, then cameras and points refined in turn by least squares.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix

LEAST_VISIBLE = 4
"""Keypoints that a camera needs: fewer leave it undetermined."""
NUM_FILLINGS = 100
NUM_REFINEMENTS = 50
LONGEST_EDGE = 0.9
"""Of the keypoints' bounding box: an object reaches a little beyond its keypoints."""


def fit_weak_perspective(
    points: Float[Tensor, "B K 3"], keypoints: Float[Tensor, "B K 2"], weights: Float[Tensor, "B K"]
) -> WeakPerspective:
    """The weak-perspective cameras that show points where keypoints are: the nearest to the best affine ones.

    Args:
        points: in the world.
        keypoints: normalised image coordinates.
        weights: at least 0; fewer than four above 0 leave a camera undetermined (but finite).
    """
    share = weights / weights.sum(dim=1, keepdim=True).clamp(min=1e-9)
    middle = torch.einsum("bk,bkc->bc", share, points)
    center = torch.einsum("bk,bkc->bc", share, keypoints)
    spread, seen = points - middle[:, None], keypoints - center[:, None]
    normal = torch.einsum("bk,bkc,bkd->bcd", share, spread, spread)
    small = 1e-6 * normal.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-9)
    identity = torch.eye(3, dtype=points.dtype, device=points.device)
    cross = torch.einsum("bk,bkc,bkd->bcd", share, seen, spread)
    affine = torch.linalg.solve(normal + small[:, None, None] * identity, cross.mT).mT
    left, values, right = torch.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation = torch.cat([rows, torch.linalg.cross(rows[:, 0], rows[:, 1])[:, None]], dim=1)
    scale = values.mean(dim=1).clamp(min=1e-6)
    shift = center - scale[:, None] * torch.einsum("bij,bj->bi", rows, middle)
    return WeakPerspective(scale, shift, matrix_to_quaternion(rotation))


def structure_from_keypoints(keypoints: Float[Tensor, "N K 3"], mirror: tuple[int, ...]) -> Float[Tensor, "K 3"]:
    """Where a class's keypoints are in the world: Y up, the mirror plane x = 0, the longest edge 0.9; float64.

    Orthographic images leave a reflection open; that with cameras from above, and rather from the front, is taken.

    Args:
        keypoints: (u, v, 1 where visible) of N images.
        mirror: for each keypoint its partner in a mirror, or itself.

    Raises:
        DataError: fewer than 4 images that show 4 keypoints each, or a keypoint that none of them shows.
    """
    points = keypoints.double()
    points = points[points[..., 2].sum(dim=1) >= LEAST_VISIBLE]
    visible = points[..., 2] > 0.5
    if len(points) < LEAST_VISIBLE or not bool(visible.any(dim=0).all()):
        raise DataError(
            f"{len(points)} images show {LEAST_VISIBLE} keypoints or more, and every keypoint must be in one of them",
            "annotate more images, or use a recipe that learns without keypoints",
        )
    structure = _upgraded(_completed(points[..., :2], visible))
    structure = _refined(structure, points[..., :2], visible)
    return _oriented(structure, points[..., :2], visible, mirror)


def _completed(seen: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
    """Rank-3 factors (M [2N, 3], S [3, K]) of the centred measurements, what is missing filled in turn."""
    there = visible.repeat_interleave(2, dim=0)
    given = seen.mT.flatten(0, 1)  # rows: u and v of each image
    mean = (given * there).sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True)
    filled = torch.where(there, given, mean)
    motion, shape = filled.new_zeros(len(filled), 3), filled.new_zeros(3, filled.shape[1])
    for _ in range(NUM_FILLINGS):
        center = filled.mean(dim=1, keepdim=True)
        left, values, right = torch.linalg.svd(filled - center, full_matrices=False)
        root = values[:3].sqrt()
        motion, shape = left[:, :3] * root, root[:, None] * right[:3]
        filled = torch.where(there, given, center + motion @ shape)
    return motion, shape


def _upgraded(factors: tuple[Tensor, Tensor]) -> Tensor:
    """Points [K, 3] in a frame in which the cameras' axes are orthogonal and of one length."""
    motion, shape = factors
    first, second = motion[0::2], motion[1::2]

    def quadratic(a: Tensor, b: Tensor) -> Tensor:
        """Coefficients of a L b' in the six numbers of a symmetric L."""
        outer = a[:, :, None] * b[:, None]
        both = outer + outer.mT
        return torch.stack(
            [outer[:, 0, 0], outer[:, 1, 1], outer[:, 2, 2], both[:, 0, 1], both[:, 0, 2], both[:, 1, 2]], dim=1
        )

    constraints = torch.cat([quadratic(first, first) - quadratic(second, second), quadratic(first, second)])
    a, b, c, d, e, f = torch.linalg.svd(constraints)[2][-1]
    metric = torch.stack([torch.stack([a, d, e]), torch.stack([d, b, f]), torch.stack([e, f, c])])
    metric = metric * metric.trace().sign()
    values, vectors = torch.linalg.eigh(metric)
    # Noise may make the metric indefinite; the nearest definite one is taken, and refined below.
    root = vectors * values.clamp(min=1e-3 * float(values.max())).sqrt()
    return torch.linalg.solve(root, shape).mT


def _refined(structure: Tensor, seen: Tensor, visible: Tensor) -> Tensor:
    """Cameras by points and points by cameras, in turn."""
    weights = visible.double()
    for _ in range(NUM_REFINEMENTS):
        camera = fit_weak_perspective(structure.expand(len(seen), -1, -1), seen, weights)
        rows = camera.scale[:, None, None] * quaternion_to_matrix(camera.quaternion)[:, :2]
        target = seen - camera.translation[:, None]
        normal = torch.einsum("nk,nic,nid->kcd", weights, rows, rows)
        normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype, device=normal.device)
        structure = torch.linalg.solve(normal, torch.einsum("nk,nic,nki->kc", weights, rows, target))
        structure = structure - structure.mean(dim=0)
        structure = structure / structure.square().sum(dim=1).mean().sqrt()
    return structure


def _upwards(rotations: Tensor, across: Tensor) -> Tensor:
    """The direction in the mirror plane that is upright in the images: the sides of pictures are level."""
    plane = torch.linalg.svd(across[None])[2][1:]
    right, upright = rotations[:, 0] @ plane.mT, -rotations[:, 1].mean(dim=0) @ plane.mT
    # Cameras that all look from the front have no level side in this plane; then their mean says what is up.
    tilt = right.mT @ right / len(right) - 1e-3 * torch.outer(upright, upright)
    up = torch.linalg.eigh(tilt)[1][:, 0]
    return (up * torch.where(up @ upright < 0, -1.0, 1.0)) @ plane


def _oriented(structure: Tensor, seen: Tensor, visible: Tensor, mirror: tuple[int, ...]) -> Tensor:
    """The structure in the world's axes."""
    partner = torch.tensor(mirror, device=structure.device)
    pairs = structure - structure[partner]
    # Without pairs, an object is taken to be thinnest from side to side.
    across = (
        torch.linalg.svd(pairs)[2][0]
        if bool((pairs.norm(dim=1) > 1e-6).any())
        else (torch.linalg.svd(structure)[2][-1])
    )
    camera = fit_weak_perspective(structure.expand(len(seen), -1, -1), seen, visible.double())
    rotations = quaternion_to_matrix(camera.quaternion)
    up = _upwards(rotations, across)
    ahead = torch.linalg.cross(across, up)
    # Cameras look along their third axis; more of them stand in front, and above.
    if float((rotations[:, 2] @ ahead).mean()) > 0:
        across, ahead = -across, -ahead
    placed = structure @ torch.stack([across, up, ahead], dim=1)
    if float((rotations[:, 2] @ up).mean()) > 0:
        placed = placed * placed.new_tensor([-1.0, 1.0, 1.0])
    low, high = placed.amin(dim=0), placed.amax(dim=0)
    return (placed - (low + high) / 2) * (LONGEST_EDGE / (high - low).amax())
