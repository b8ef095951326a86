"""Compiled geometry of one pixel and one face, with its derivatives, in PyTorch3D's arithmetic.

Everything is computed in the type of its arguments and in the order of PyTorch3D's C++ kernels, epsilons included, so
that in float32 both decide alike which faces cover a pixel, and in which order. ``real`` is that type.
"""

from __future__ import annotations

from typing import Any

from numba import njit

EPSILON = 1e-8
"""PyTorch3D's: added to doubled areas, least squared length of an edge, least depth of a corner."""
LEAST_WEIGHT = 1e-5
"""Least sum of the clipped barycentric weights that they are divided by."""


@njit(cache=True, fastmath=False, nogil=True)
def edge_function(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    """Twice the signed area of (a, b, p)."""
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@njit(cache=True, fastmath=False, nogil=True)
def segment_distance(real: Any, px: float, py: float, ax: float, ay: float, bx: float, by: float) -> float:
    """Squared distance from p to segment ab, or to b if the segment is a point."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    if length <= EPSILON:
        return (px - bx) * (px - bx) + (py - by) * (py - by)
    along = (dx * (px - ax) + dy * (py - ay)) / length
    along = min(max(along, real(0)), real(1))
    x, y = px - (ax + along * dx), py - (ay + along * dy)
    return x * x + y * y


@njit(cache=True, fastmath=False, nogil=True)
def segment_gradient(
    real: Any, px: float, py: float, ax: float, ay: float, bx: float, by: float
) -> tuple[float, float, float, float]:
    """Derivatives of ``segment_distance`` by a and b: 2 (foot - p), weighted by the foot's position between them."""
    dx, dy = bx - ax, by - ay
    along = (dx * (px - ax) + dy * (py - ay)) / max(dx * dx + dy * dy, real(1e-30))
    along = min(max(along, real(0)), real(1))
    complement = real(1) - along
    x, y = complement * ax + along * bx - px, complement * ay + along * by - py
    return complement * (x + x), complement * (y + y), along * (x + x), along * (y + y)


@njit(cache=True, fastmath=False, nogil=True)
def triangle_distance(
    real: Any, px: float, py: float, x0: float, y0: float, x1: float, y1: float, x2: float, y2: float
) -> tuple[float, int]:
    """Squared distance from p to the nearest edge, and its index (0: 01, 1: 02, 2: 12; the first of equals)."""
    d01 = segment_distance(real, px, py, x0, y0, x1, y1)
    d02 = segment_distance(real, px, py, x0, y0, x2, y2)
    d12 = segment_distance(real, px, py, x1, y1, x2, y2)
    if d01 <= d02 and d01 <= d12:
        return d01, 0
    if d02 <= d12:
        return d02, 1
    return d12, 2


@njit(cache=True, fastmath=False, nogil=True)
def screen_weights(
    real: Any, px: float, py: float, x0: float, y0: float, x1: float, y1: float, x2: float, y2: float
) -> tuple[float, float, float]:
    """Barycentric weights on the screen. The area's epsilon makes the weights of slivers sum to less than 1."""
    area = real(edge_function(x2, y2, x0, y0, x1, y1) + EPSILON)
    w0 = edge_function(px, py, x1, y1, x2, y2) / area
    w1 = edge_function(px, py, x2, y2, x0, y0) / area
    w2 = edge_function(px, py, x0, y0, x1, y1) / area
    return w0, w1, w2


@njit(cache=True, fastmath=False, nogil=True)
def perspective_weights(
    real: Any, w0: float, w1: float, w2: float, z0: float, z1: float, z2: float
) -> tuple[float, float, float]:
    """Perspective-correct weights from screen weights. Beyond the face's horizon the divisor is clamped above 0."""
    t0, t1, t2 = w0 * z1 * z2, w1 * z0 * z2, w2 * z0 * z1
    total = max(t0 + t1 + t2, real(EPSILON))
    return t0 / total, t1 / total, t2 / total


@njit(cache=True, fastmath=False, nogil=True)
def clipped_weights(real: Any, w0: float, w1: float, w2: float) -> tuple[float, float, float]:
    """Weights clipped to the face: negative ones become 0, the others are divided by their sum."""
    w0, w1, w2 = max(w0, real(0)), max(w1, real(0)), max(w2, real(0))
    total = max(w0 + w1 + w2, real(LEAST_WEIGHT))
    return w0 / total, w1 / total, w2 / total
