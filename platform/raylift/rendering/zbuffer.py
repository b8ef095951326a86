"""Compiled z-buffer rasterisation: triangles on the screen to the nearest one at each pixel centre.

Two steps keep the inner loop small: filling stores only depth and triangle; barycentrics are computed afterwards, for
the nearest triangles only.

Tie rule: at equal depth the triangle that comes first stays, so the lower face index wins, as in PyTorch3D.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def pixel_range(low: float, high: float, size: int) -> tuple[int, int]:
    """First and one past the last pixel whose centre is in [low, high] (normalised), widened by rounding."""
    first = np.ceil((max(low, -1.0) + 1.0) * 0.5 * size - 0.5 - 1e-9)
    last = np.floor((min(high, 1.0) + 1.0) * 0.5 * size - 0.5 + 1e-9)
    if not last >= first:
        return 0, 0
    return max(int(first), 0), min(int(last), size - 1) + 1


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def edge(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    """Twice the signed area of (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def _narrowed(
    low: float, high: float, py: float, ax: float, ay: float, bx: float, by: float, sign: float, size: int
) -> tuple[float, float]:
    """Columns of [low, high] on the inner side of an edge in the row at ``py``, widened by one."""
    slope = sign * (by - ay)
    if slope != 0.0:
        crossing = ax + (py - ay) * (bx - ax) / (by - ay)
        column = (crossing + 1.0) * 0.5 * size - 0.5
        if not abs(column) < 1e9:
            return low, high  # an edge almost along the row, or coordinates so large that the crossing is no number
        if slope > 0.0:
            low = max(low, np.ceil(column) - 1.0)
        else:
            high = min(high, np.floor(column) + 1.0)
    return low, high


@njit(cache=True, fastmath=False, nogil=True)
def fill_nearest(
    corners: np.ndarray,
    size: int,
    perspective: bool,
    margin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at each pixel centre. A centre exactly on an edge is covered: shared edges have no pinholes.

    Args:
        corners: float64 [T, 3, 3], (u, v, z), z > 0.
        margin: fraction of the depth by which a later triangle must be nearer (keeps coplanar faces from speckling).

    Returns:
        Depth float64 [H, W] (inf where nothing) and triangle int32 [H, W] (-1 where nothing).
    """
    depth = np.full((size, size), np.inf)
    triangle = np.full((size, size), -1, np.int32)
    step = 2.0 / size
    for t in range(corners.shape[0]):
        x0, y0, z0 = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
        x1, y1, z1 = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
        x2, y2, z2 = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
        area = edge(x2, y2, x0, y0, x1, y1)
        if not abs(area) > 0.0:
            continue
        first_column, end_column = pixel_range(min(x0, x1, x2), max(x0, x1, x2), size)
        if first_column >= end_column:
            continue
        first_row, end_row = pixel_range(min(y0, y1, y2), max(y0, y1, y2), size)
        if first_row >= end_row:
            continue
        sign = 1.0 if area > 0 else -1.0
        scale = 1.0 / abs(area)
        if perspective:
            z0, z1, z2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
        for row in range(first_row, end_row):
            py = (row + 0.5) * step - 1.0
            # Where the row crosses the three edges bounds the columns, to a pixel either way: long thin faces cover few
            # of the pixels of their box. The exact test below decides.
            low, high = float(first_column), float(end_column - 1)
            low, high = _narrowed(low, high, py, x1, y1, x2, y2, sign, size)
            low, high = _narrowed(low, high, py, x2, y2, x0, y0, sign, size)
            low, high = _narrowed(low, high, py, x0, y0, x1, y1, sign, size)
            for column in range(int(low), int(high) + 1):
                px = (column + 0.5) * step - 1.0
                w0 = sign * edge(px, py, x1, y1, x2, y2)
                w1 = sign * edge(px, py, x2, y2, x0, y0)
                w2 = sign * edge(px, py, x0, y0, x1, y1)
                if w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0:
                    z = (w0 * z0 + w1 * z1 + w2 * z2) * scale
                    if perspective:
                        z = 1.0 / z
                    if z < depth[row, column] * (1.0 - margin):
                        depth[row, column] = z
                        triangle[row, column] = t
    return depth, triangle


@njit(cache=True, fastmath=False, nogil=True)
def barycentric(px: float, py: float, corners: np.ndarray, perspective: bool) -> tuple[float, float, float]:
    """Weights of the corners at the point of the triangle that is seen at (px, py); they sum to 1."""
    x0, y0, x1, y1, x2, y2 = (
        corners[0, 0],
        corners[0, 1],
        corners[1, 0],
        corners[1, 1],
        corners[2, 0],
        corners[2, 1],
    )
    w0 = edge(px, py, x1, y1, x2, y2)
    w1 = edge(px, py, x2, y2, x0, y0)
    w2 = edge(px, py, x0, y0, x1, y1)
    if perspective:
        w0, w1, w2 = w0 / corners[0, 2], w1 / corners[1, 2], w2 / corners[2, 2]
    total = w0 + w1 + w2
    if perspective:
        # Outside of the triangle and beyond its plane's horizon the sum changes sign. Keeping the sign of the screen's
        # own weights there (PyTorch3D does too) leads clipping to the nearer end of the face.
        area = edge(x2, y2, x0, y0, x1, y1)
        total = max(total, 1e-12) if area > 0 else min(total, -1e-12)
    return w0 / total, w1 / total, w2 / total
