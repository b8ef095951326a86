"""Rejects implausible depth: not finite, in another unit, or of an object that is not where the camera looks.

Objects are in the cube [-0.5, 0.5]^3 (their longest edge is 1), so the camera alone determines the possible depths.
"""

from __future__ import annotations

import numpy as np
import torch

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import pixel_centers, project, unproject

CUBE = 0.6
"""Half the edge of the cube that visible points are checked against; slightly larger than the object's own 0.5."""

LEAST_INSIDE = 0.5
"""Fraction of the visible points that must be inside: sensors have outliers, wrong units leave no point inside."""

_MOST_CHECKED = 2000

UNITS = (
    (1000.0, "millimetres instead of metres: divide by 1000"),
    (100.0, "centimetres instead of metres: divide by 100"),
    (10_000.0, "the integers of a 16-bit depth image (steps of 1e-4): multiply by 1e-4"),
    (0.001, "metres instead of millimetres: multiply by 1000"),
    (0.1, "a 16-bit depth image in millimetres, read in steps of 1e-4: write a .npy in world units"),
)
"""(ratio of given to expected depth, likely cause)."""
_REMEDY = (
    "store z along the camera's axis in world units: the object's longest edge is 1, it is centred at the origin, and "
    "the camera's translation has the same unit"
)


def check_depth(name: str, depth: np.ndarray, covered: np.ndarray, camera: Camera) -> tuple[str, ...]:
    """Reject an implausible depth image, and return notes on oddities of a plausible one.

    Args:
        name: image name for errors.
        depth: float [H, W], z in camera axes, world units; 0 means missing; ignored outside of the silhouette.
        covered: bool [H, W], the silhouette.
        camera: B = 1.

    Raises:
        DataError: another size than the silhouette, values inside of the silhouette that are all missing, infinite or
            negative, or points where the object cannot be.
    """
    if depth.shape != covered.shape:
        raise DataError(
            f"the depth of {name} is {depth.shape}, its image {covered.shape}", "save both at the same size"
        )
    values = depth[covered]
    known = values[np.isfinite(values) & (values != 0)]
    infinite = float((~np.isfinite(values)).mean()) if len(values) else 0.0
    if len(known) == 0:
        what = "infinite or NaN" if infinite else "0 (missing)"
        raise DataError(f"the depth of {name} is {what} everywhere inside of the silhouette", _REMEDY)
    if (known < 0).mean() > 0.5:
        raise DataError(
            f"the depth of {name} is negative, median {np.median(known):.4g}",
            "OpenGL's camera looks along -z: change the sign",
        )
    _refuse_elsewhere(name, depth, covered & np.isfinite(depth) & (depth > 0), camera)
    notes = []
    if infinite > 0:
        notes.append(f"its depth is infinite or NaN at {infinite:.1%} of the silhouette: treated as missing")
    missing = 1 - len(known) / len(values) - infinite
    if missing > 0.5:
        notes.append(f"its depth is missing at {missing:.0%} of the silhouette: do image and depth belong together?")
    return tuple(notes)


def _refuse_elsewhere(name: str, depth: np.ndarray, usable: np.ndarray, camera: Camera) -> None:
    rows, columns = np.nonzero(usable)
    step = max(1, len(rows) // _MOST_CHECKED)
    rows, columns = rows[::step], columns[::step]
    height, width = depth.shape
    single = camera.to("cpu", torch.float64)
    uv = pixel_centers(height, width, dtype=torch.float64)[torch.from_numpy(rows), torch.from_numpy(columns)][None]
    z = torch.from_numpy(depth[rows, columns].astype(np.float64))[None]
    points = unproject(single, uv, z)[0]
    inside = float((points.abs() <= CUBE).all(dim=-1).double().mean())
    if inside >= LEAST_INSIDE:
        return
    _, expected = project(single, torch.zeros(1, 1, 3, dtype=torch.float64))
    given, center = float(z.median()), float(expected)
    ratio = given / center if center > 0 else 1.0
    likely = next((f"; it looks like {words}" for factor, words in UNITS if 0.7 < ratio / factor < 1.4), "")
    raise DataError(
        f"{1 - inside:.0%} of the points in the depth of {name} are outside of the object's cube: its median is "
        f"{given:.4g}, but the camera sees the object's centre at {center:.4g}{likely}",
        _REMEDY,
    )
