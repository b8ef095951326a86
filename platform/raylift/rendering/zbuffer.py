"""Compiled z-buffer rasterisation: triangles on the screen to the nearest ones at each pixel centre.

Two steps keep the inner loop small: filling notes only depth and triangle, and whoever needs barycentrics or distances
computes them afterwards for the triangles that won.

Tie rule: at equal depth the triangle that comes first stays, so the lower face index wins, as in PyTorch3D.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SLIVER_AREA = 1e-8
"""PyTorch3D leaves out faces whose doubled area on the screen is at most this."""


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def pixel_range(low: float, high: float, size: int) -> tuple[int, int]:
    """First and one past the last pixel whose centre lies in [low, high] (normalised), widened by rounding."""
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
    """Columns of [low, high] that lie on the inner side of an edge in the row at ``py``, widened by one."""
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
    with_edges: bool,
    smallest_area: float,
    margin: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at each pixel centre.

    Args:
        corners: float64 [T, 3, 3], (u, v, z), z > 0.
        with_edges: whether a centre exactly on an edge is covered (no pinholes along shared edges) or, as in PyTorch3D,
            it is not.
        smallest_area: triangles of at most this doubled area are left out.
        margin: a later triangle must be nearer by this share of the depth (keeps coplanar faces from speckling).

    Returns:
        Depth float64 [H, W] (inf where nothing) and triangle int32 [H, W] (-1 where nothing).
    """
    depth = np.full((size, size), np.inf)
    triangle = np.full((size, size), -1, np.int32)
    step = 2.0 / size
    least = 0.0 if with_edges else np.nextafter(0.0, 1.0)
    for t in range(corners.shape[0]):
        x0, y0, z0 = corners[t, 0, 0], corners[t, 0, 1], corners[t, 0, 2]
        x1, y1, z1 = corners[t, 1, 0], corners[t, 1, 1], corners[t, 1, 2]
        x2, y2, z2 = corners[t, 2, 0], corners[t, 2, 1], corners[t, 2, 2]
        area = edge(x2, y2, x0, y0, x1, y1)
        if not abs(area) > smallest_area:
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
                if w0 >= least and w1 >= least and w2 >= least:
                    z = (w0 * z0 + w1 * z1 + w2 * z2) * scale
                    if perspective:
                        z = 1.0 / z
                    if z < depth[row, column] * (1.0 - margin):
                        depth[row, column] = z
                        triangle[row, column] = t
    return depth, triangle


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def _segment_distance(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    if length <= SLIVER_AREA:
        return (px - bx) ** 2 + (py - by) ** 2
    along = min(max((dx * (px - ax) + dy * (py - ay)) / length, 0.0), 1.0)
    return (px - ax - along * dx) ** 2 + (py - ay - along * dy) ** 2


@njit(cache=True, fastmath=False, nogil=True)
def boundary_distance(px: float, py: float, corners: np.ndarray) -> float:
    """Squared distance in the image plane from a point to the nearest of a triangle's edges."""
    first: float = _segment_distance(px, py, corners[0, 0], corners[0, 1], corners[1, 0], corners[1, 1])
    second: float = _segment_distance(px, py, corners[1, 0], corners[1, 1], corners[2, 0], corners[2, 1])
    third: float = _segment_distance(px, py, corners[2, 0], corners[2, 1], corners[0, 0], corners[0, 1])
    return min(first, second, third)


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


@njit(cache=True, fastmath=False, nogil=True)
def fill_layers(
    corners: np.ndarray, sibling: np.ndarray, size: int, num_layers: int, blur_radius: float, perspective: bool
) -> np.ndarray:
    """The nearest triangles at each pixel centre, those included whose boundary is nearer than the blur radius.

    Args:
        sibling: int32 [T]: of two halves of one face only the one with the nearer boundary is kept.
        num_layers: K.
        blur_radius: squared distance in normalised coordinates.

    Returns:
        Triangle int32 [H, W, K], nearest first, -1 where there is none.
    """
    depth = np.full((size, size, num_layers), np.inf)
    triangle = np.full((size, size, num_layers), -1, np.int32)
    step = 2.0 / size
    reach = np.sqrt(blur_radius)
    for t in range(corners.shape[0]):
        corner = corners[t]
        area = edge(corner[2, 0], corner[2, 1], corner[0, 0], corner[0, 1], corner[1, 0], corner[1, 1])
        if not abs(area) > SLIVER_AREA:
            continue
        first_column, end_column = pixel_range(corner[:, 0].min() - reach, corner[:, 0].max() + reach, size)
        first_row, end_row = pixel_range(corner[:, 1].min() - reach, corner[:, 1].max() + reach, size)
        for row in range(first_row, end_row):
            py = (row + 0.5) * step - 1.0
            for column in range(first_column, end_column):
                px = (column + 0.5) * step - 1.0
                w0, w1, w2 = barycentric(px, py, corner, perspective)
                inside = w0 > 0.0 and w1 > 0.0 and w2 > 0.0
                if not inside and not boundary_distance(px, py, corner) < blur_radius:
                    continue
                if blur_radius > 0.0:
                    w0, w1, w2 = clipped(w0, w1, w2)
                z = w0 * corner[0, 2] + w1 * corner[1, 2] + w2 * corner[2, 2]
                nearest, owner = depth[row, column], triangle[row, column]
                if sibling[t] >= 0:
                    twin = 0
                    while twin < num_layers and owner[twin] != sibling[t]:
                        twin += 1
                    if twin < num_layers:
                        if boundary_distance(px, py, corner) >= boundary_distance(px, py, corners[sibling[t]]):
                            continue
                        for k in range(twin, num_layers - 1):
                            nearest[k], owner[k] = nearest[k + 1], owner[k + 1]
                        nearest[num_layers - 1], owner[num_layers - 1] = np.inf, -1
                if not z < nearest[num_layers - 1]:
                    continue
                k = num_layers - 1
                while k > 0 and z < nearest[k - 1]:
                    nearest[k], owner[k] = nearest[k - 1], owner[k - 1]
                    k -= 1
                nearest[k], owner[k] = z, t
    return triangle


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def clipped(w0: float, w1: float, w2: float) -> tuple[float, float, float]:
    """Barycentric weights of a point outside, moved into the triangle: negative ones become 0, the rest is rescaled."""
    w0, w1, w2 = max(w0, 0.0), max(w1, 0.0), max(w2, 0.0)
    total = max(w0 + w1 + w2, 1e-5)
    return w0 / total, w1 / total, w2 / total


@njit(cache=True, fastmath=False, nogil=True)
def resolve(
    corners: np.ndarray,
    face: np.ndarray,
    weights: np.ndarray,
    triangle: np.ndarray,
    perspective: bool,
    with_blur: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What ``Fragments`` holds, for the triangles that won: int64 [H, W, K], then three of float32, padded with -1."""
    size, _, num_layers = triangle.shape
    pix_to_face = np.full((size, size, num_layers), -1, np.int64)
    zbuf = np.full((size, size, num_layers), -1.0, np.float32)
    bary = np.full((size, size, num_layers, 3), -1.0, np.float32)
    dists = np.full((size, size, num_layers), -1.0, np.float32)
    step = 2.0 / size
    for row in range(size):
        py = (row + 0.5) * step - 1.0
        for column in range(size):
            px = (column + 0.5) * step - 1.0
            for k in range(num_layers):
                t = triangle[row, column, k]
                if t < 0:
                    break
                corner = corners[t]
                w0, w1, w2 = barycentric(px, py, corner, perspective)
                inside = w0 > 0.0 and w1 > 0.0 and w2 > 0.0
                if with_blur:
                    w0, w1, w2 = clipped(w0, w1, w2)
                distance = boundary_distance(px, py, corner)
                pix_to_face[row, column, k] = face[t]
                zbuf[row, column, k] = w0 * corner[0, 2] + w1 * corner[1, 2] + w2 * corner[2, 2]
                dists[row, column, k] = -distance if inside else distance
                for c in range(3):
                    if weights.shape[0] > 0:
                        bary[row, column, k, c] = w0 * weights[t, 0, c] + w1 * weights[t, 1, c] + w2 * weights[t, 2, c]
                    elif c == 0:
                        bary[row, column, k, c] = w0
                    elif c == 1:
                        bary[row, column, k, c] = w1
                    else:
                        bary[row, column, k, c] = w2
    return pix_to_face, zbuf, bary, dists
