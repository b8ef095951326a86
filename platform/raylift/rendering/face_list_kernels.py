"""Compiled search of the K nearest faces at each pixel: the one step of soft rasterisation that has no derivative.

Tie rule: at equal depth the lower face index comes first, as in PyTorch3D, whose arithmetic is followed operation by
operation so that depths that are equal there are equal here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import (
    EPSILON,
    LEAST_WEIGHT,
    clipped_weights,
    edge_function,
    perspective_weights,
    screen_weights,
    triangle_distance,
)

BLOCK = 8
"""Number of pixels measured at once."""


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy", inline="always")
def _segment(px: float, py: float, ax: float, ay: float, dx: float, dy: float, square: float, real: Any) -> float:
    along = (dx * (px - ax) + dy * (py - ay)) / square
    along = min(max(along, real(0)), real(1))
    x, y = px - (ax + along * dx), py - (ay + along * dy)
    return x * x + y * y


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _row_depths(
    real: Any,
    corners: np.ndarray,
    centers: np.ndarray,
    py: float,
    first: int,
    end: int,
    blur: float,
    perspective: bool,
    depths: np.ndarray,
) -> None:
    """Compute one face's depth at columns [first, end) of a row; infinite where it does not cover the pixel.

    The loop has no branches and runs over whole blocks, so that the compiler vectorises it. The last block may run past
    the end; the arrays are padded for it.
    """
    x0, y0, z0 = corners[0, 0], corners[0, 1], corners[0, 2]
    x1, y1, z1 = corners[1, 0], corners[1, 1], corners[1, 2]
    x2, y2, z2 = corners[2, 0], corners[2, 1], corners[2, 2]
    zero, infinite = real(0), real(np.inf)
    dx01, dy01, dx02, dy02, dx12, dy12 = x1 - x0, y1 - y0, x2 - x0, y2 - y0, x2 - x1, y2 - y1
    dx20, dy20 = x0 - x2, y0 - y2
    square01, square02, square12 = dx01 * dx01 + dy01 * dy01, dx02 * dx02 + dy02 * dy02, dx12 * dx12 + dy12 * dy12
    area = real(edge_function(x2, y2, x0, y0, x1, y1) + EPSILON)
    clip = blur > zero
    # Without blur, weights are not clipped: no floor, and a divisor of 1.
    floor, least = (zero, real(LEAST_WEIGHT)) if clip else (-infinite, infinite)
    columns = centers[first:]  # an index that might be negative could not be computed for a whole block
    for lane in range((end - first + BLOCK - 1) // BLOCK * BLOCK):
        px = columns[lane]
        w0 = ((px - x1) * dy12 - (py - y1) * dx12) / area
        w1 = ((px - x2) * dy20 - (py - y2) * dx20) / area
        w2 = ((px - x0) * dy01 - (py - y0) * dx01) / area
        if perspective:
            t0, t1, t2 = w0 * z1 * z2, w1 * z0 * z2, w2 * z0 * z1
            total = max(t0 + t1 + t2, real(EPSILON))
            w0, w1, w2 = t0 / total, t1 / total, t2 / total
        d01 = _segment(px, py, x0, y0, dx01, dy01, square01, real)
        d02 = _segment(px, py, x0, y0, dx02, dy02, square02, real)
        d12 = _segment(px, py, x1, y1, dx12, dy12, square12, real)
        inside = (w0 > zero) & (w1 > zero) & (w2 > zero)
        covers = inside | (min(d01, d02, d12) < blur)
        c0, c1, c2 = max(w0, floor), max(w1, floor), max(w2, floor)
        divisor = max(c0 + c1 + c2, least) if clip else real(1)
        z = (c0 / divisor) * z0 + (c1 / divisor) * z1 + (c2 / divisor) * z2
        depths[lane] = z if covers & (z >= zero) else infinite


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _exact_row_depths(
    real: Any,
    corners: np.ndarray,
    centers: np.ndarray,
    py: float,
    first: int,
    end: int,
    blur: float,
    perspective: bool,
    depths: np.ndarray,
) -> None:
    """``_row_depths`` for a face with an edge so short that PyTorch3D treats it as a point."""
    x0, y0, z0 = corners[0, 0], corners[0, 1], corners[0, 2]
    x1, y1, z1 = corners[1, 0], corners[1, 1], corners[1, 2]
    x2, y2, z2 = corners[2, 0], corners[2, 1], corners[2, 2]
    zero = real(0)
    for column in range(first, end):
        px = centers[column]
        w0, w1, w2 = screen_weights(real, px, py, x0, y0, x1, y1, x2, y2)
        if perspective:
            w0, w1, w2 = perspective_weights(real, w0, w1, w2, z0, z1, z2)
        covers = w0 > zero and w1 > zero and w2 > zero
        if not covers:
            distance, _ = triangle_distance(real, px, py, x0, y0, x1, y1, x2, y2)
            covers = distance < blur
        if blur > zero:
            w0, w1, w2 = clipped_weights(real, w0, w1, w2)
        z = w0 * z0 + w1 * z1 + w2 * z2
        depths[column - first] = z if covers and z >= zero else real(np.inf)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _has_point_edge(corners: np.ndarray) -> bool:
    for a, b in ((0, 1), (0, 2), (1, 2)):
        dx, dy = corners[b, 0] - corners[a, 0], corners[b, 1] - corners[a, 1]
        if dx * dx + dy * dy <= EPSILON:
            return True
    return False


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _search_band(
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    order: np.ndarray,
    first_row: int,
    end_row: int,
    blur_radius: float,
    perspective: bool,
    lists: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Fill rows [first_row, end_row) of one image's ``lists`` [H, W, K] and ``counts`` [H, W].

    Faces may come in any order; fewer list entries move if the nearest come first.
    """
    real = screen.dtype.type
    size, faces_per_pixel = lists.shape[1], lists.shape[2]
    blur, infinite = real(blur_radius), real(np.inf)
    centers = pixel_centers_1d(real, size, BLOCK)
    corners = np.empty((3, 3), real)
    row_depths = np.empty(size + BLOCK, real)
    depths = np.empty((end_row - first_row, size, faces_per_pixel), real)
    counts[first_row:end_row] = 0
    for index in range(order.shape[0]):
        f = order[index]
        first, end = max(boxes[f, 0], first_row), min(boxes[f, 1], end_row)
        if first >= end:
            continue
        left, right = boxes[f, 2], boxes[f, 3]
        for c in range(3):
            for axis in range(3):
                corners[c, axis] = screen[faces[f, c], axis]
        exact_arithmetic = _has_point_edge(corners)
        for row in range(first, end):
            py = centers[row]
            if exact_arithmetic:
                _exact_row_depths(real, corners, centers, py, left, right, blur, perspective, row_depths)
            else:
                _row_depths(real, corners, centers, py, left, right, blur, perspective, row_depths)
            for column in range(left, right):
                z = row_depths[column - left]
                if not z < infinite:
                    continue
                line, k = row - first_row, counts[row, column]
                if k == faces_per_pixel:
                    last = depths[line, column, k - 1]
                    if z > last or (z == last and f > lists[row, column, k - 1]):
                        continue
                    k -= 1
                else:
                    counts[row, column] = k + 1
                while k > 0:
                    before = depths[line, column, k - 1]
                    if z > before or (z == before and f > lists[row, column, k - 1]):
                        break
                    depths[line, column, k], lists[row, column, k] = before, lists[row, column, k - 1]
                    k -= 1
                depths[line, column, k], lists[row, column, k] = z, f


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def search_bands(
    first: int,
    end: int,
    num_bands: int,
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    orders: np.ndarray,
    blur_radius: float,
    perspective: bool,
    lists: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Run tasks [first, end): each fills one band of rows of ``lists`` int32 [B, H, W, K] and ``counts``."""
    size = lists.shape[1]
    for task in range(first, end):
        image, band = task // num_bands, task % num_bands
        _search_band(
            screen[image],
            faces,
            boxes[image],
            orders[image],
            band * size // num_bands,
            (band + 1) * size // num_bands,
            blur_radius,
            perspective,
            lists[image],
            counts[image],
        )


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def depth_orders(first: int, end: int, screen: np.ndarray, faces: np.ndarray, orders: np.ndarray) -> None:
    """Fill ``orders`` int32 [B, F] of images [first, end): faces sorted by the depth of their nearest corner."""
    least = np.empty(faces.shape[0], screen.dtype)
    for image in range(first, end):
        for f in range(faces.shape[0]):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            least[f] = min(screen[image, a, 2], screen[image, b, 2], screen[image, c, 2])
        orders[image] = np.argsort(least)
