"""Scans a mesh from all sides, for the inside test of ``geometry.signed_distance``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numba import njit

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import fibonacci_directions, orthographic_views
from raylift.geometry.signed_distance import Scan
from raylift.rendering.render import COPLANAR_MARGIN
from raylift.rendering.triangles import check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest

BORDER_PX = 2
"""Empty pixels kept around the object: each view shows all of it, with room for a 2 x 2 neighbourhood."""


def scan(vertices: np.ndarray, faces: np.ndarray, num_views: int = 100, px: int = 384) -> Scan:
    """Orthographic depth of a mesh from directions spread evenly over the whole sphere.

    A face counts as visible when it owns a pixel's centre of some view. Faces too small for that count when their own
    centre is no deeper than a pixel's width behind what the view sees there; a dense mesh would lose most of its
    surface otherwise.

    Args:
        vertices: [V, 3]; any unit.
        faces: int [F, 3].
        num_views: number M of views.
        px: pixels per side of each view; its width is the diameter of the mesh's bounding sphere.

    Raises:
        DataError: a mesh without faces or extent, or one that cannot be indexed.
    """
    check_image_px(px)
    vertices = np.asarray(vertices, np.float64)
    faces = np.ascontiguousarray(faces, np.int32)
    check_mesh(vertices, faces)
    if len(faces) == 0:
        raise DataError("a mesh without faces cannot be scanned", "leave the mesh out")
    if num_views < 1 or px <= 2 * BORDER_PX:
        raise DataError(
            f"a scan has {num_views} views at {px} pixels", f"use 1 view, {2 * BORDER_PX + 1} pixels or more"
        )
    used = vertices[np.unique(faces)]
    center = (used.min(axis=0) + used.max(axis=0)) / 2
    radius = float(np.linalg.norm(used - center, axis=1).max())
    if radius <= 0:
        raise DataError("a mesh of one single point cannot be scanned", "leave the mesh out")
    half_width = radius * px / (px - 2 * BORDER_PX)
    cameras = _cameras_around(center, half_width, num_views)
    pixel = 2 * half_width / px
    # Its near plane scales with the mesh, so that a model in millimetres and one in kilometres scan alike.
    near = half_width * 0.01

    depths = np.zeros((num_views, px, px), np.float32)
    visible = np.zeros(len(faces), np.bool_)
    for view in range(num_views):
        screen = project_triangles(vertices, faces, cameras[view], near)
        depth, triangle = fill_nearest(screen.corners, px, False, COPLANAR_MARGIN)
        _mark_visible(visible, screen.corners, screen.face, depth, triangle, pixel)
        depths[view] = np.where(triangle >= 0, depth, 0.0)
    return Scan(depths, cameras, visible)


def _cameras_around(center: np.ndarray, half_width: float, num_views: int) -> Camera:
    cameras = orthographic_views(fibonacci_directions(num_views), half_width, 2 * half_width)
    cameras = cameras.to("cpu", torch.float64)
    offset = cameras.rotation @ torch.from_numpy(center)
    return replace(cameras, translation=cameras.translation - offset)


@njit(cache=True, fastmath=False, nogil=True)
def _mark_visible(
    visible: np.ndarray,
    corners: np.ndarray,
    face: np.ndarray,
    depth: np.ndarray,
    triangle: np.ndarray,
    tolerance: float,
) -> None:
    """Mark the faces that a view sees: those that own a pixel, and small faces whose centre is not hidden."""
    size = depth.shape[0]
    for row in range(size):
        for column in range(size):
            if triangle[row, column] >= 0:
                visible[face[triangle[row, column]]] = True
    smallest = 2.0 * (2.0 / size) ** 2
    for t in range(corners.shape[0]):
        if visible[face[t]]:
            continue
        corner = corners[t]
        area = (corner[1, 0] - corner[0, 0]) * (corner[2, 1] - corner[0, 1])
        area -= (corner[1, 1] - corner[0, 1]) * (corner[2, 0] - corner[0, 0])
        if abs(area) > 2.0 * smallest:
            continue
        column = int((corner[:, 0].mean() + 1.0) * 0.5 * size)
        row = int((corner[:, 1].mean() + 1.0) * 0.5 * size)
        if 0 <= row < size and 0 <= column < size and corner[:, 2].mean() <= depth[row, column] + tolerance:
            visible[face[t]] = True
