"""Outlines: how much of each pixel an opaque mesh covers, without shading it."""

from __future__ import annotations

import numpy as np

from raylift.core.types import Camera
from raylift.rendering.triangles import check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest


def outline(vertices: np.ndarray, faces: np.ndarray, camera: Camera, image_px: int, supersample: int = 2) -> np.ndarray:
    """The coverage of a mesh, faces of either winding.

    Args:
        vertices: [V, 3], world.
        faces: int [F, 3].
        camera: B = 1.
        image_px: pixels per side.
        supersample: square root of the samples per pixel.

    Returns:
        uint8 [H, W]: 255 where the mesh covers the whole pixel.

    Raises:
        DataError: a mesh that cannot be indexed, or an impossible size.
    """
    check_image_px(image_px * supersample)
    check_mesh(vertices, faces)
    screen = project_triangles(vertices, faces, camera)
    _, triangles = fill_nearest(screen.corners, image_px * supersample, camera.projection == "perspective", 0.0)
    hit = (triangles >= 0).reshape(image_px, supersample, image_px, supersample)
    return np.rint(hit.mean(axis=(1, 3)) * 255).astype(np.uint8)
