"""Shading normals per face corner: smooth over curved surfaces, sharp along creases, for any winding.

Furniture from the web has seams (vertices doubled for texture coordinates), faces wound either way and hard edges, so a
plain mean of the faces around a vertex would be wrong three times.
"""

from __future__ import annotations

import numpy as np
from numba import njit

CREASE_DEG = 40.0
_MAX_VALENCE = 256


def face_crosses(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Normals of faces [F, 3] by their winding, as long as twice the face's area."""
    corners = vertices[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def corner_normals(vertices: np.ndarray, faces: np.ndarray, crease_deg: float = CREASE_DEG) -> np.ndarray:
    """Unit normals float64 [F, 3, 3], on the side of the face's own winding.

    Each is the mean, weighted by area, of those faces around the corner's position whose plane is within ``crease_deg``
    of the face's own, turned to its side. Faces without area get (0, 0, 0).

    Args:
        vertices: [V, 3]; those at the same place (to 1e-6 of the extent) are welded.
        faces: [F, 3].
    """
    if len(faces) == 0:
        return np.zeros((0, 3, 3))
    positions = vertices.astype(np.float64)
    low = positions.min(axis=0)
    extent = max(float((positions.max(axis=0) - low).max()), 1e-30)
    cells = np.rint((positions - low) / extent * 1e6).astype(np.int64)
    welded = np.unique((cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2], return_inverse=True)[1]
    welded_faces = welded.astype(np.int64)[faces]
    crosses = face_crosses(positions, faces)
    order = np.argsort(welded_faces, axis=None, kind="stable")
    starts = np.searchsorted(welded_faces.ravel()[order], np.arange(welded.max() + 2))
    least_cosine = float(np.cos(np.deg2rad(crease_deg)))
    normals: np.ndarray = _average(crosses, welded_faces, order // 3, starts, least_cosine)
    return normals


@njit(cache=True, fastmath=False, nogil=True)
def _average(
    crosses: np.ndarray,
    welded_faces: np.ndarray,
    incident: np.ndarray,
    starts: np.ndarray,
    least_cosine: float,
) -> np.ndarray:
    num_faces = crosses.shape[0]
    areas = np.sqrt(crosses[:, 0] ** 2 + crosses[:, 1] ** 2 + crosses[:, 2] ** 2)
    normals = np.zeros((num_faces, 3, 3))
    for f in range(num_faces):
        if areas[f] <= 0.0:
            continue
        for c in range(3):
            vertex = welded_faces[f, c]
            x, y, z = 0.0, 0.0, 0.0
            if starts[vertex + 1] - starts[vertex] <= _MAX_VALENCE:
                for i in range(starts[vertex], starts[vertex + 1]):
                    g = incident[i]
                    dot = crosses[f, 0] * crosses[g, 0] + crosses[f, 1] * crosses[g, 1] + crosses[f, 2] * crosses[g, 2]
                    if abs(dot) >= least_cosine * areas[f] * areas[g]:
                        side = 1.0 if dot >= 0 else -1.0
                        x += side * crosses[g, 0]
                        y += side * crosses[g, 1]
                        z += side * crosses[g, 2]
            length = np.sqrt(x * x + y * y + z * z)
            if length <= 0.0:
                x, y, z = crosses[f, 0], crosses[f, 1], crosses[f, 2]
                length = areas[f]
            normals[f, c, 0], normals[f, c, 1], normals[f, c, 2] = x / length, y / length, z / length
    return normals
