"""Generalised winding numbers, exact: how often a mesh winds around a point (Jacobson et al. 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from numba import njit

from raylift.geometry.bvh import as_points, as_triangles


def winding_number(points: Any, vertices: Any, faces: Any) -> Float64[np.ndarray, "N"]:
    """The sum of signed solid angles of all faces over 4 pi (Jacobson et al. 2013, equation 5).

    For a closed mesh with outward normals it is 1 inside and 0 outside; for an open one it varies smoothly, and 0.5 or
    more is commonly taken as inside. It trusts the orientation of the faces. Cost: points times faces.

    Args:
        points: [N, 3].
        vertices: [V, 3].
        faces: [F, 3], counter-clockwise seen from outside.
    """
    vertices, faces = as_triangles(vertices, faces)
    numbers: np.ndarray = _winding(as_points(points), vertices[faces])
    return numbers


@njit(cache=True, nogil=True)
def _winding(points, corners):  # type: ignore[no-untyped-def]
    """tan(angle / 2) = det(a b c) / (|a||b||c| + (a.b)|c| + (b.c)|a| + (c.a)|b|), van Oosterom and Strackee 1983."""
    numbers = np.empty(points.shape[0])
    for p in range(points.shape[0]):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        total = 0.0
        for f in range(corners.shape[0]):
            ax, ay, az = corners[f, 0, 0] - x, corners[f, 0, 1] - y, corners[f, 0, 2] - z
            bx, by, bz = corners[f, 1, 0] - x, corners[f, 1, 1] - y, corners[f, 1, 2] - z
            cx, cy, cz = corners[f, 2, 0] - x, corners[f, 2, 1] - y, corners[f, 2, 2] - z
            a = np.sqrt(ax * ax + ay * ay + az * az)
            b = np.sqrt(bx * bx + by * by + bz * bz)
            c = np.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
            below = (
                a * b * c
                + (ax * bx + ay * by + az * bz) * c
                + (bx * cx + by * cy + bz * cz) * a
                + (cx * ax + cy * ay + cz * az) * b
            )
            total += np.arctan2(volume, below)
        numbers[p] = total / (2 * np.pi)
    return numbers
