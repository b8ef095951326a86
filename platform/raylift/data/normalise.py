"""Any scene into the one frame: sound triangles, centred, longest edge 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from raylift.core.errors import DataError
from raylift.rendering.scene import Scene


def normalise_scene(scene: Scene, max_faces: int) -> tuple[Scene, tuple[str, ...]]:
    """The scene's usable triangles in the frame of ``core.types``, and notes on what was left out.

    Triangles with a corner that is not finite are left out and noted; those without area are left out as they show
    nowhere. The source has already turned the scene: Y up, facing +Z.

    Raises:
        DataError: nothing usable is left, or there are more than ``max_faces`` triangles.
    """
    if len(scene.faces) > max_faces:
        raise DataError(
            f"the mesh has {len(scene.faces):,} faces, more than the limit of {max_faces:,}",
            "simplify it, or raise --max-faces",
        )
    if len(scene.faces) == 0:
        raise DataError("the mesh has no faces", "export it as a triangle mesh")
    if scene.faces.min() < 0 or scene.faces.max() >= len(scene.vertices):
        raise DataError("the mesh has faces that point at vertices it does not have", "export it again")
    corners = scene.vertices.astype(np.float64)[scene.faces]
    finite = np.isfinite(corners).all(axis=(1, 2)) & (np.abs(corners) < 1e18).all(axis=(1, 2))
    notes = []
    if not finite.all():
        notes.append(f"{int((~finite).sum())} faces have corners that are not finite: left out")
    if not finite.any():
        raise DataError("no face of the mesh has finite corners", "export it again")
    sound = corners[finite]
    extent = float((sound.max(axis=(0, 1)) - sound.min(axis=(0, 1))).max())
    if not extent > 0:
        raise DataError("the mesh has no extent: all of its corners coincide", "check its units and export it again")
    areas = np.zeros(len(corners))
    edges = sound / extent
    areas[finite] = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    kept = finite & (areas > 1e-14)
    if not kept.any():
        raise DataError("no face of the mesh has any area", "check its units and export it again")
    used = corners[kept]
    low, high = used.min(axis=(0, 1)), used.max(axis=(0, 1))
    faces = scene.faces[kept]
    indices, renamed = np.unique(faces, return_inverse=True)
    vertices = (scene.vertices.astype(np.float64)[indices] - (low + high) / 2) / float((high - low).max())
    return (
        replace(
            scene,
            vertices=vertices.astype(np.float32),
            faces=renamed.reshape(-1, 3).astype(np.int32),
            face_materials=scene.face_materials[kept],
            corner_uvs=scene.corner_uvs[kept],
            vertex_colors=None if scene.vertex_colors is None else scene.vertex_colors[indices],
        ),
        tuple(notes),
    )
