"""Normalise a scene to the common frame: valid triangles, centred, longest edge 1."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from raylift.core.errors import DataError
from raylift.rendering.scene import Scene


class NormalisedScene(NamedTuple):
    """A scene in the common frame, and how it got there: ``normalised = (given - center) / extent``.

    Attributes:
        scene: valid triangles, centred, longest edge 1.
        notes: what was left out.
        center: float64 [3], centre of the bounding box as given.
        extent: longest edge of the bounding box as given.
    """

    scene: Scene
    notes: tuple[str, ...]
    center: np.ndarray
    extent: float


def normalise_scene(scene: Scene, max_faces: int) -> tuple[Scene, tuple[str, ...]]:
    """The first two parts of ``normalise_with_frame``."""
    found = normalise_with_frame(scene, max_faces)
    return found.scene, found.notes


def normalise_with_frame(scene: Scene, max_faces: int) -> NormalisedScene:
    """The scene's valid triangles in the frame of ``core.types``, notes on what was left out, and the move to it.

    Triangles with a corner that is not finite are left out and noted; those without area are never visible and left
    out silently. The source has already oriented the scene: Y up, facing +Z.

    Raises:
        DataError: no valid triangle is left, or there are more than ``max_faces``.
    """
    if len(scene.faces) > max_faces:
        raise DataError(
            f"the mesh has {len(scene.faces):,} faces, more than the limit of {max_faces:,}",
            "simplify it, or raise --max-faces",
        )
    if len(scene.faces) == 0:
        raise DataError("the mesh has no faces", "export it as a triangle mesh")
    if scene.faces.min() < 0 or scene.faces.max() >= len(scene.vertices):
        raise DataError("the mesh has faces with vertex indices out of range", "export it again")
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
        raise DataError("the mesh has no extent: all its corners coincide", "check its units and export it again")
    areas = np.zeros(len(corners))
    edges = sound / extent
    areas[finite] = np.linalg.norm(np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]), axis=1)
    kept = finite & (areas > 1e-14)
    if not kept.any():
        raise DataError("no face of the mesh has any area", "check its units and export it again")
    used = corners[kept]
    low, high = used.min(axis=(0, 1)), used.max(axis=(0, 1))
    faces = scene.faces[kept]
    shrunk = _shrunk_by_strays(used, areas[kept])
    if shrunk is not None:
        notes.append(shrunk)
    indices, renamed = np.unique(faces, return_inverse=True)
    center, longest = (low + high) / 2, float((high - low).max())
    vertices = (scene.vertices.astype(np.float64)[indices] - center) / longest
    return NormalisedScene(
        replace(
            scene,
            vertices=vertices.astype(np.float32),
            faces=renamed.reshape(-1, 3).astype(np.int32),
            face_materials=scene.face_materials[kept],
            corner_uvs=scene.corner_uvs[kept],
            vertex_colors=None if scene.vertex_colors is None else scene.vertex_colors[indices],
        ),
        tuple(notes),
        center,
        longest,
    )


MOST_AREA = 0.999
"""All but a thousandth of the surface ..."""
LEAST_SHARE = 0.5
"""... should fill at least half of the longest edge of the bounding box."""


def _shrunk_by_strays(corners: np.ndarray, areas: np.ndarray) -> str | None:
    """A note if a few stray triangles make the object small in its own bounding box.

    Args:
        corners: [F, 3, 3].
        areas: [F], proportional to the triangles' areas.
    """
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    longest = float((high - low).max())
    middles = corners.mean(axis=1)
    weights = areas / areas.sum()
    middle = np.array([_weighted_median(middles[:, axis], weights) for axis in range(3)])
    # Drop the triangles farthest from the area's median first, up to a thousandth of the area.
    order = np.argsort(-np.abs(corners - middle).max(axis=(1, 2)), kind="stable")
    dropped = np.cumsum(weights[order]) <= 1 - MOST_AREA
    if not dropped.any() or dropped.all():
        return None
    rest = corners[order[~dropped]]
    low_rest, high_rest = rest.min(axis=(0, 1)), rest.max(axis=(0, 1))
    share = float((high_rest - low_rest).max()) / longest
    if share >= LEAST_SHARE:
        return None
    strays = ((corners < low_rest) | (corners > high_rest)).any(axis=(1, 2))
    return (
        f"{int(strays.sum())} triangles with {float(weights[strays].sum()):.2%} of the area lie far away: without "
        f"them its longest edge would be {share:.0%} of what it is, so it is prepared that small; delete them from the "
        "mesh"
    )


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), 0.5)])
