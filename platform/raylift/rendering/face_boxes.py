"""Compiled first step of soft rasterisation: which pixels each face can touch, and where pixels are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.point_triangle import EPSILON, edge_function
from raylift.rendering.zbuffer import pixel_range

SLIVER_AREA = 1e-8
"""PyTorch3D omits faces whose doubled screen area is at most this."""
LEAST_ROWS = 8
"""Rows of a band, except the last one."""
LEAST_TASKS = 64
"""Least number of bands of a batch (if its images have enough rows), so that all threads stay busy until the end."""


def num_bands(batch: int, image_px: int) -> int:
    """Number of bands that each image's rows are split into. A task is one band, and sets up its faces itself."""
    return min(-(-image_px // LEAST_ROWS), -(-LEAST_TASKS // max(batch, 1)))


@njit(cache=True, fastmath=False, nogil=True)
def pixel_centers_1d(real: Any, size: int, margin: int) -> np.ndarray:
    """Normalised coordinate of each column's or row's centre, rounded as in PyTorch3D, which has reversed axes.

    Args:
        margin: number of extra centres beyond the last.
    """
    centers = np.empty(size + margin, real)
    for index in range(size + margin):
        centers[index] = real(1) - real(2 * (size - index) - 1) / real(size)
    return centers


@njit(cache=True, fastmath=False, nogil=True)
def face_boxes(screen: np.ndarray, faces: np.ndarray, size: int, reach: float, boxes: np.ndarray) -> None:
    """First row, end row, first and end column that each face of one image can touch; empty for omitted faces."""
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = edge_function(x0, y0, x1, y1, x2, y2)  # the corners' order that PyTorch3D decides by
        boxes[f, 0] = boxes[f, 1] = boxes[f, 2] = boxes[f, 3] = 0
        if not (abs(area) > SLIVER_AREA and min(screen[a, 2], screen[b, 2], screen[c, 2]) >= EPSILON):
            continue
        first_column, end_column = pixel_range(min(x0, x1, x2) - reach, max(x0, x1, x2) + reach, size)
        if first_column < end_column:
            boxes[f, 2], boxes[f, 3] = first_column, end_column
            boxes[f, 0], boxes[f, 1] = pixel_range(min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, size)


@njit(cache=True, fastmath=False, nogil=True)
def image_boxes(
    first: int, end: int, screen: np.ndarray, faces: np.ndarray, size: int, blur_radius: float, boxes: np.ndarray
) -> None:
    """``boxes`` int32 [B, F, 4] of images [first, end) of meshes ``screen`` [B, V, 3]."""
    for image in range(first, end):
        face_boxes(screen[image], faces, size, math.sqrt(blur_radius), boxes[image])
