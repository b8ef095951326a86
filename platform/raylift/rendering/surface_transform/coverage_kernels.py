"""Compiled search for the texels in each quad: counted first, then written in the order of quads.

A quad is named by its upper left pixel a. Its corners are a, b (right), c (below b), d (below a), and

    X(s, t) = (1 - s)(1 - t) a + s (1 - t) b + s t c + (1 - s) t d.

It owns the texels with (s, t) in [0, 1)^2. Edges decide that, not (s, t): both quads at an edge compute the same number
for it, from its ends in the same order, so rounding neither loses a texel nor counts it twice.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def cross(ax: float, ay: float, bx: float, by: float) -> float:
    return ax * by - ay * bx


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def outer_triangle(u: float, v: float) -> int:
    """0 in the octahedral chart's inner diamond, 1 to 4 in the triangles at its corners."""
    if abs(2.0 * u - 1.0) + abs(2.0 * v - 1.0) <= 1.0:
        return 0
    return 1 + (1 if u > 0.5 else 0) + (2 if v > 0.5 else 0)


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def crosses_seam(q: np.ndarray) -> bool:
    """Whether corners are in two outer triangles."""
    first = 0
    for k in range(4):
        triangle = outer_triangle(q[k, 0], q[k, 1])
        if triangle > 0:
            if first > 0 and triangle != first:
                return True
            first = triangle
    return False


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def orientation(q: np.ndarray) -> float:
    """1 or -1 for a strictly convex quad, 0 for any other."""
    positive, negative = 0, 0
    for k in range(4):
        h, i, j = (k + 3) % 4, k, (k + 1) % 4
        turn = cross(q[i, 0] - q[h, 0], q[i, 1] - q[h, 1], q[j, 0] - q[i, 0], q[j, 1] - q[i, 1])
        positive += 1 if turn > 0.0 else 0
        negative += 1 if turn < 0.0 else 0
    return 1.0 if positive == 4 else (-1.0 if negative == 4 else 0.0)


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def load_quad(
    uv: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    a: int,
    width: int,
    max_side: float,
    max_depth_step: float,
    octahedral: bool,
    q: np.ndarray,
) -> float:
    """Write corners to ``q`` float64 [4, 2]; the orientation, 0 where the quad does not count."""
    low, high = np.inf, -np.inf
    for k in range(4):
        pixel = a + (1 if k == 1 or k == 2 else 0) + (width if k >= 2 else 0)
        if not mask[pixel]:
            return 0.0
        q[k, 0], q[k, 1] = uv[pixel, 0], uv[pixel, 1]
        low, high = min(low, np.float64(depth[pixel])), max(high, np.float64(depth[pixel]))
    along_u = max(q[0, 0], q[1, 0], q[2, 0], q[3, 0]) - min(q[0, 0], q[1, 0], q[2, 0], q[3, 0])
    along_v = max(q[0, 1], q[1, 1], q[2, 1], q[3, 1]) - min(q[0, 1], q[1, 1], q[2, 1], q[3, 1])
    if not (along_u <= max_side and along_v <= max_side and high - low <= max_depth_step):
        return 0.0
    if octahedral and crosses_seam(q):
        return 0.0
    return orientation(q)


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def side_of(x: float, y: float, q: np.ndarray, k: int, j: int) -> float:
    """Positive where (x, y) is to the left of the way from corner k to corner j."""
    return cross(q[j, 0] - q[k, 0], q[j, 1] - q[k, 1], x - q[k, 0], y - q[k, 1])


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def owns(q: np.ndarray, sign: float, x: float, y: float) -> bool:
    """Whether (s, t) of a point is in [0, 1)^2."""
    return (
        sign * side_of(x, y, q, 0, 3) <= 0.0
        and sign * side_of(x, y, q, 1, 2) > 0.0
        and sign * side_of(x, y, q, 0, 1) >= 0.0
        and sign * side_of(x, y, q, 3, 2) < 0.0
    )


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def inverse_bilinear(q: np.ndarray, sign: float, x: float, y: float) -> tuple[float, float]:
    """(s, t) of a point of a convex quad.

    With e = b - a, f = d - a, g = a - b + c - d and h = x - a, t is a root of (h - f t) x (e + g t). The slope at the
    right root is det J, which has the quad's sign in all of a convex quad, and whose square is the discriminant. That
    decides the root; it is then written so that nothing cancels.
    """
    ex, ey = q[1, 0] - q[0, 0], q[1, 1] - q[0, 1]
    fx, fy = q[3, 0] - q[0, 0], q[3, 1] - q[0, 1]
    gx, gy = q[2, 0] - q[3, 0] - ex, q[2, 1] - q[3, 1] - ey
    hx, hy = x - q[0, 0], y - q[0, 1]
    constant = sign * cross(hx, hy, ex, ey)
    linear = sign * (cross(hx, hy, gx, gy) + cross(ex, ey, fx, fy))
    square = sign * cross(gx, gy, fx, fy)
    root = np.sqrt(max(linear * linear - 4.0 * square * constant, 0.0))
    t = -2.0 * constant / (linear + root) if linear >= 0.0 else (root - linear) / (2.0 * square)
    px, py = ex + gx * t, ey + gy * t
    s = ((hx - fx * t) * px + (hy - fy * t) * py) / (px * px + py * py)
    return min(max(s, 0.0), 1.0), min(max(t, 0.0), 1.0)


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def texel_range(q: np.ndarray, axis: int, texels: int) -> tuple[int, int]:
    """First and one past the last texel whose centre can be in the quad."""
    low = min(q[0, axis], q[1, axis], q[2, axis], q[3, axis])
    high = max(q[0, axis], q[1, axis], q[2, axis], q[3, axis])
    first = int(np.ceil(low * texels - 0.5 - 1e-6))
    last = int(np.floor(high * texels - 0.5 + 1e-6))
    return max(first, 0), min(last, texels - 1) + 1


@njit(cache=True, fastmath=False, nogil=True)
def count_pairs(
    first: int,
    end: int,
    uv: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    texels: int,
    rules: tuple[float, float, bool],
    counts: np.ndarray,
) -> None:
    """Number of texels that each quad owns, for rows [first, end) of quads of all images.

    Args:
        uv, mask, depth: of all pixels, [B * H * W, ...].
        size: height and width of the images.
        rules: max_side, max_depth_step, and whether the chart is octahedral.
        counts: int64 [B * H * W], by upper left pixel.
    """
    height, width = size
    q = np.empty((4, 2))
    for task in range(first, end):
        start = (task // (height - 1) * height + task % (height - 1)) * width
        for a in range(start, start + width - 1):
            sign = load_quad(uv, mask, depth, a, width, rules[0], rules[1], rules[2], q)
            if sign != 0.0:
                columns, rows = texel_range(q, 0, texels), texel_range(q, 1, texels)
                for j in range(rows[0], rows[1]):
                    for i in range(columns[0], columns[1]):
                        counts[a] += owns(q, sign, (i + 0.5) / texels, (j + 0.5) / texels)


@njit(cache=True, fastmath=False, nogil=True)
def fill_pairs(
    first: int,
    end: int,
    uv: np.ndarray,
    mask: np.ndarray,
    depth: np.ndarray,
    size: tuple[int, int],
    texels: int,
    rules: tuple[float, float, bool],
    starts: np.ndarray,
    quad: np.ndarray,
    row: np.ndarray,
    place: np.ndarray,
) -> None:
    """Write the pairs of each quad from its start on: the quad, the texel (b N + j) N + i, and (s, t)."""
    height, width = size
    q = np.empty((4, 2))
    for task in range(first, end):
        image = task // (height - 1)
        start = (image * height + task % (height - 1)) * width
        for a in range(start, start + width - 1):
            at = starts[a]
            if at == starts[a + 1]:
                continue
            sign = load_quad(uv, mask, depth, a, width, rules[0], rules[1], rules[2], q)
            columns, rows = texel_range(q, 0, texels), texel_range(q, 1, texels)
            for j in range(rows[0], rows[1]):
                for i in range(columns[0], columns[1]):
                    x, y = (i + 0.5) / texels, (j + 0.5) / texels
                    if owns(q, sign, x, y):
                        quad[at], row[at] = a, (image * texels + j) * texels + i
                        place[at, 0], place[at, 1] = inverse_bilinear(q, sign, x, y)
                        at += 1


@njit(cache=True, fastmath=False, nogil=True)
def group_pairs(keys: np.ndarray, starts: np.ndarray, order: np.ndarray) -> None:
    """Stable counting sort: the pairs of key k are order[starts[k] : starts[k + 1]].

    Args:
        starts: zeros, one more than there are keys.
    """
    for key in keys:
        starts[key + 1] += 1
    for key in range(1, starts.shape[0]):
        starts[key] += starts[key - 1]
    at = starts.copy()
    for pair in range(keys.shape[0]):
        order[at[keys[pair]]] = pair
        at[keys[pair]] += 1
