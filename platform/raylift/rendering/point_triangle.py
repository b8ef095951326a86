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
    """Squared distance from p to the segment ab; to b where the segment is a point."""
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
    """Derivatives of ``segment_distance`` by a and b: twice the way from p to its foot, shared as the foot is."""
    dx, dy = bx - ax, by - ay
    along = (dx * (px - ax) + dy * (py - ay)) / max(dx * dx + dy * dy, real(1e-30))
    along = min(max(along, real(0)), real(1))
    rest = real(1) - along
    x, y = rest * ax + along * bx - px, rest * ay + along * by - py
    return rest * (x + x), rest * (y + y), along * (x + x), along * (y + y)


@njit(cache=True, fastmath=False, nogil=True)
def triangle_distance(
    real: Any, px: float, py: float, x0: float, y0: float, x1: float, y1: float, x2: float, y2: float
) -> tuple[float, int]:
    """Squared distance from p to the nearest edge, and which it is (0: 01, 1: 02, 2: 12; the first of equals)."""
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
    """Barycentric weights on the screen; the area's epsilon makes those of slivers sum to less than 1."""
    area = real(edge_function(x2, y2, x0, y0, x1, y1) + EPSILON)
    w0 = edge_function(px, py, x1, y1, x2, y2) / area
    w1 = edge_function(px, py, x2, y2, x0, y0) / area
    w2 = edge_function(px, py, x0, y0, x1, y1) / area
    return w0, w1, w2


@njit(cache=True, fastmath=False, nogil=True)
def screen_weights_gradient(
    real: Any,
    px: float,
    py: float,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    g0: float,
    g1: float,
    g2: float,
) -> tuple[float, float, float, float, float, float]:
    """Gradient by (x0, y0, x1, y1, x2, y2) of weights whose own gradients are g0, g1, g2."""
    area = real(edge_function(x2, y2, x0, y0, x1, y1) + EPSILON)
    square, inverse = area * area, real(1) / area
    # By way of the area, then by way of the weight's own edge function, whose derivatives are
    # d edge(p, a, b) = (py - by, bx - px) by a, (ay - py, px - ax) by b, (by - ay, ax - bx) by p.
    a0 = g0 * (-edge_function(px, py, x1, y1, x2, y2) / square)
    a1 = g1 * (-edge_function(px, py, x2, y2, x0, y0) / square)
    a2 = g2 * (-edge_function(px, py, x0, y0, x1, y1) / square)
    e0, e1, e2 = g0 * inverse, g1 * inverse, g2 * inverse
    gx0 = a0 * (y2 - y1) + (e1 * (y2 - py) + a1 * (y2 - y1)) + (e2 * (py - y1) + a2 * (y2 - y1))
    gy0 = a0 * (x1 - x2) + (e1 * (px - x2) + a1 * (x1 - x2)) + (e2 * (x1 - px) + a2 * (x1 - x2))
    gx1 = (e0 * (py - y2) + a0 * (y0 - y2)) + a1 * (y0 - y2) + (e2 * (y0 - py) + a2 * (y0 - y2))
    gy1 = (e0 * (x2 - px) + a0 * (x2 - x0)) + a1 * (x2 - x0) + (e2 * (px - x0) + a2 * (x2 - x0))
    gx2 = (e0 * (y1 - py) + a0 * (y1 - y0)) + (e1 * (py - y0) + a1 * (y1 - y0)) + a2 * (y1 - y0)
    gy2 = (e0 * (px - x1) + a0 * (x0 - x1)) + (e1 * (x0 - px) + a1 * (x0 - x1)) + a2 * (x0 - x1)
    return gx0, gy0, gx1, gy1, gx2, gy2


@njit(cache=True, fastmath=False, nogil=True)
def perspective_weights(
    real: Any, w0: float, w1: float, w2: float, z0: float, z1: float, z2: float
) -> tuple[float, float, float]:
    """Weights on the face from those on the screen. Beyond the face's horizon the divisor is held above 0."""
    t0, t1, t2 = w0 * z1 * z2, w1 * z0 * z2, w2 * z0 * z1
    total = max(t0 + t1 + t2, real(EPSILON))
    return t0 / total, t1 / total, t2 / total


@njit(cache=True, fastmath=False, nogil=True)
def perspective_gradient(
    real: Any,
    clip: bool,
    w0: float,
    w1: float,
    w2: float,
    z0: float,
    z1: float,
    z2: float,
    g0: float,
    g1: float,
    g2: float,
) -> tuple[float, float, float, float, float, float]:
    """Gradient by (w0, w1, w2, z0, z1, z2) of ``perspective_weights``; with ``clip``, of ``clipped_weights`` after it.

    Beyond the horizon the divisor is a constant, 1e-8, that clipping cancels. Going back through both one by one, as
    PyTorch3D does, leaves the difference of two terms 1e8 times too large; so there both are one step.
    """
    t0, t1, t2 = w0 * z1 * z2, w1 * z0 * z2, w2 * z0 * z1
    total = max(t0 + t1 + t2, real(EPSILON))
    if clip and total <= real(EPSILON):
        zero = real(0)
        c0, c1, c2 = max(t0, zero), max(t1, zero), max(t2, zero)
        total = max(c0 + c1 + c2, real(LEAST_WEIGHT * EPSILON))
        shared = (c0 * g0 + c1 * g1 + c2 * g2) / total
        h0 = (g0 - shared) / total if t0 > zero else zero
        h1 = (g1 - shared) / total if t1 > zero else zero
        h2 = (g2 - shared) / total if t2 > zero else zero
    else:
        if clip:
            g0, g1, g2 = clipped_gradient(real, t0 / total, t1 / total, t2 / total, g0, g1, g2)
        shared = (-t0 * g0 - t1 * g1 - t2 * g2) / (total * total)
        h0, h1, h2 = shared + g0 / total, shared + g1 / total, shared + g2 / total
    return (
        h0 * z1 * z2,
        h1 * z0 * z2,
        h2 * z0 * z1,
        h1 * w1 * z2 + h2 * w2 * z1,
        h0 * w0 * z2 + h2 * w2 * z0,
        h0 * w0 * z1 + h1 * w1 * z0,
    )


@njit(cache=True, fastmath=False, nogil=True)
def clipped_weights(real: Any, w0: float, w1: float, w2: float) -> tuple[float, float, float]:
    """Weights moved into the face: negative ones become 0, the others are divided by their sum."""
    w0, w1, w2 = max(w0, real(0)), max(w1, real(0)), max(w2, real(0))
    total = max(w0 + w1 + w2, real(LEAST_WEIGHT))
    return w0 / total, w1 / total, w2 / total


@njit(cache=True, fastmath=False, nogil=True)
def clipped_gradient(
    real: Any, w0: float, w1: float, w2: float, g0: float, g1: float, g2: float
) -> tuple[float, float, float]:
    """Gradient by (w0, w1, w2) of ``clipped_weights``."""
    zero = real(0)
    c0, c1, c2 = max(w0, zero), max(w1, zero), max(w2, zero)
    total = c0 + c1 + c2
    if total < real(LEAST_WEIGHT):
        inverse, c0, c1, c2 = real(1) / real(LEAST_WEIGHT), zero, zero, zero
    else:
        square = total * total
        inverse, c0, c1, c2 = real(1) / total, -c0 / square, -c1 / square, -c2 / square
    return (
        zero if w0 < zero else g0 * (inverse + c0) + g1 * c1 + g2 * c2,
        zero if w1 < zero else g1 * (inverse + c1) + g0 * c0 + g2 * c2,
        zero if w2 < zero else g2 * (inverse + c2) + g0 * c0 + g1 * c1,
    )
