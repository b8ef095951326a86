"""Compiled steps before rasterisation: vertices to the screen, faces cut at the near plane.

Cutting happens in homogeneous coordinates (u z, v z, z), where the plane z = near meets an edge at a linear ratio;
after the division by z it would not, and at z = 0 there is nothing to divide by.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from raylift.core.errors import DataError
from raylift.core.types import Camera

NEAR = 0.01
"""Depth in world units (the object is 1 across) in front of which nothing is drawn."""


class ScreenTriangles(NamedTuple):
    """Triangles of one view, wholly in front of the near plane.

    Attributes:
        corners: float64 [T, 3, 3]: (u, v, z) of each corner.
        face: int32 [T]: the face that it is part of, ascending.
        weights: float64 [T, 3, 3]: each corner's barycentric weights in the face; empty where nothing was cut.
    """

    corners: np.ndarray
    face: np.ndarray
    weights: np.ndarray


def check_mesh(vertices: np.ndarray, faces: np.ndarray) -> None:
    """Reject arrays that kernels could not index safely.

    Raises:
        DataError: shapes, indices out of range, or positions that are not finite.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise DataError(
            f"the mesh has vertices of shape {vertices.shape} and faces of shape {faces.shape}",
            "pass vertices [V, 3] and triangles [F, 3]",
        )
    if not np.isfinite(vertices).all():
        raise DataError("a mesh has vertices that are not finite numbers", "repair the mesh, or leave it out")
    if faces.size and (int(faces.min()) < 0 or int(faces.max()) >= len(vertices)):
        raise DataError(
            f"faces refer to vertices {int(faces.min())}..{int(faces.max())}, the mesh has {len(vertices)}",
            "indices count from 0; repair the mesh, or leave it out",
        )


def check_image_px(image_px: int) -> None:
    """Reject impossible image sizes."""
    if not 1 <= image_px <= 16384:
        raise DataError(f"the image has {image_px} pixels per side", "use 1 to 16384")


def project_triangles(vertices: np.ndarray, faces: np.ndarray, camera: Camera, near: float = NEAR) -> ScreenTriangles:
    """Project a mesh to the screen of one camera.

    Args:
        vertices: [V, 3], world.
        faces: int [F, 3].
        camera: B = 1.
        near: depth of the near plane; anything nearer is cut away.
    """
    rotation = camera.rotation[0].detach().cpu().numpy().astype(np.float64)
    translation = camera.translation[0].detach().cpu().numpy().astype(np.float64)
    focal = camera.focal[0].detach().cpu().numpy().astype(np.float64)
    principal = camera.principal[0].detach().cpu().numpy().astype(np.float64)
    points = vertices.astype(np.float64) @ rotation.T + translation
    perspective = camera.projection == "perspective"
    points[:, :2] = points[:, :2] * focal + principal * (points[:, 2:] if perspective else 1.0)
    return ScreenTriangles(*_cut_and_divide(points, np.ascontiguousarray(faces, np.int32), near, perspective))


@njit(cache=True, fastmath=False, nogil=True)
def _cut_and_divide(
    points: np.ndarray, faces: np.ndarray, near: float, perspective: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    num_faces = faces.shape[0]
    num_triangles = 0
    any_cut = False
    for f in range(num_faces):
        num_hidden = 0
        for c in range(3):
            if points[faces[f, c], 2] < near:
                num_hidden += 1
        if num_hidden == 1:
            num_triangles += 2
        elif num_hidden != 3:
            num_triangles += 1
        if num_hidden == 1 or num_hidden == 2:
            any_cut = True

    corners = np.empty((num_triangles, 3, 3))
    face = np.empty(num_triangles, np.int32)
    weights = np.zeros((num_triangles if any_cut else 0, 3, 3))
    polygon = np.empty((4, 3))
    polygon_weights = np.empty((4, 3))
    t = 0
    for f in range(num_faces):
        num_hidden = 0
        for c in range(3):
            if points[faces[f, c], 2] < near:
                num_hidden += 1
        if num_hidden == 3:
            continue
        if num_hidden == 0:
            for c in range(3):
                corners[t, c] = points[faces[f, c]]
                if any_cut:
                    weights[t, c, c] = 1.0
            face[t] = f
            t += 1
            continue
        # Sutherland and Hodgman (1974) against one plane: 3 or 4 corners remain. The walk starts behind the hidden
        # corner, so that a quadrilateral is split along the diagonal that PyTorch3D takes.
        start = 0
        for c in range(3):
            if points[faces[f, c], 2] < near:
                start = (c + 1) % 3
        size = 0
        for step in range(3):
            c = (start + step) % 3
            d = (c + 1) % 3
            here, there = points[faces[f, c]], points[faces[f, d]]
            if here[2] >= near:
                polygon[size] = here
                polygon_weights[size] = 0.0
                polygon_weights[size, c] = 1.0
                size += 1
            if (here[2] >= near) != (there[2] >= near):
                # Always start at the front corner, so that two faces that share the edge cut it at the same point.
                if here[2] >= near:
                    ratio = (near - here[2]) / (there[2] - here[2])
                    polygon[size] = here + ratio * (there - here)
                else:
                    ratio = (near - there[2]) / (here[2] - there[2])
                    polygon[size] = there + ratio * (here - there)
                    ratio = 1.0 - ratio
                polygon[size, 2] = near
                polygon_weights[size] = 0.0
                polygon_weights[size, c] = 1.0 - ratio
                polygon_weights[size, d] = ratio
                size += 1
        for k in range(size - 2):
            corners[t, 0], corners[t, 1], corners[t, 2] = polygon[0], polygon[k + 1], polygon[k + 2]
            weights[t, 0], weights[t, 1] = polygon_weights[0], polygon_weights[k + 1]
            weights[t, 2] = polygon_weights[k + 2]
            face[t] = f
            t += 1
    if perspective:
        for t in range(num_triangles):
            for c in range(3):
                corners[t, c, 0] /= corners[t, c, 2]
                corners[t, c, 1] /= corners[t, c, 2]
    return corners, face, weights
