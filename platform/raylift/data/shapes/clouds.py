"""Coloured clouds of points, reprojected from depth (implicit paper, section 3.3).

In its own file, because drawing samples needs it and must not import mesh readers.
"""

from __future__ import annotations

import numpy as np

from raylift.core.types import Camera


def merged_cloud(rgba: list[np.ndarray], depths: list[np.ndarray], cameras: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The coloured cloud of all views: points float32 [N, 3] in the world, RGB float32 [N, 3] in [0, 1]."""
    parts = [
        visible_cloud(image, depth, cameras[view]) for view, (image, depth) in enumerate(zip(rgba, depths, strict=True))
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def visible_cloud(rgba: np.ndarray, depth: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The visible points of one view: every pixel with a depth and some coverage, reprojected (section 3.3).

    Args:
        rgba: uint8 [H, W, 4].
        depth: float [H, W], z in world units, 0 where missing.
        camera: B = 1.
    """
    rows, columns = np.nonzero((depth > 0) & (rgba[..., 3] > 0))
    height, width = depth.shape
    z = depth[rows, columns].astype(np.float64)
    uv = np.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], axis=1)
    focal, principal, rotation, translation = (
        value[0].double().numpy() for value in (camera.focal, camera.principal, camera.rotation, camera.translation)
    )
    plane = (uv - principal) / focal
    if camera.projection == "perspective":
        plane = plane * z[:, None]
    points = (np.concatenate([plane, z[:, None]], axis=1) - translation) @ rotation
    return points.astype(np.float32), rgba[rows, columns, :3].astype(np.float32) / 255.0
