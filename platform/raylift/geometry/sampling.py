"""Points on surfaces."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from raylift.core.errors import DataError
from raylift.geometry.bvh import as_triangles


def face_areas_and_normals(vertices: Any, faces: Any) -> tuple[Float64[np.ndarray, "F"], Float64[np.ndarray, "F 3"]]:
    """Area and unit normal of each triangle; a triangle without area has the zero normal."""
    vertices, faces = as_triangles(vertices, faces)
    corners = vertices[faces]
    crosses = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(crosses, axis=1)
    return lengths / 2, crosses / np.where(lengths > 0, lengths, 1.0)[:, None]


def sample_surface(
    vertices: Any, faces: Any, num_points: int, rng: np.random.Generator
) -> tuple[Float64[np.ndarray, "N 3"], Int64[np.ndarray, "N"], Float64[np.ndarray, "N 3"]]:
    """Points uniform over a mesh's area.

    Faces are drawn by area, points within a face by square-root barycentrics (Osada et al. 2002, equation 1).

    Returns:
        points, the face of each, and that face's unit normal.

    Raises:
        DataError: the mesh has no area.
    """
    vertices, faces = as_triangles(vertices, faces)
    areas, normals = face_areas_and_normals(vertices, faces)
    cumulative = np.cumsum(areas)
    if len(areas) == 0 or not cumulative[-1] > 0:
        raise DataError("the mesh has no area, so points cannot be drawn on it", "check its faces and scale")
    # side="right" never picks a face without area; the last face with area takes the rounding error.
    last = int(np.flatnonzero(areas)[-1])
    drawn = np.searchsorted(cumulative, rng.random(num_points) * cumulative[-1], side="right").clip(max=last)
    root, share = np.sqrt(rng.random(num_points)), rng.random(num_points)
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    points = np.einsum("nk,nkc->nc", weights, vertices[faces[drawn]])
    return points, drawn, normals[drawn]
