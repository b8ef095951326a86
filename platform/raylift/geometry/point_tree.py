"""The nearest points of a cloud: a tree of boxes over points along a space-filling curve, compiled for the CPU.

Eight consecutive points along a Morton curve make a leaf, and eight boxes a larger one: only the curve is sorted, and
vector units compute eight distances at a time. Each search starts from the previous result, so consecutive queries that
are close in space visit little more than their own leaf. About three times as fast as a k-d tree on surface samples,
with bit-identical distances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from raylift.core.kernel_threads import run_tasks
from raylift.geometry.bvh import as_points

_WIDTH = 8
"""Points per leaf, and boxes per node. A run-time value in the kernels: unrolled loops are slower here."""
_STACK = 128  # 7 boxes are pending per level, and 8 ^ 18 points are enough
_QUERIES_PER_TASK = 2048
_CURVE_STEPS = 1023


def curve_order(points: Float64[np.ndarray, "N 3"]) -> Int64[np.ndarray, "N"]:
    """The order of points along a Morton curve of 1024 steps per axis; points in one cell keep their order."""
    order: np.ndarray = np.argsort(_morton_codes(points), kind="stable")
    return order


class PointTree:
    """A point cloud for nearest-point queries.

    Args:
        points: finite points, at least one.
    """

    def __init__(self, points: Any) -> None:
        points = as_points(points)
        assert len(points), "an empty cloud has no nearest point"
        self._order = curve_order(points)
        self._points = np.ascontiguousarray(points[self._order])
        self._leaves, self._nodes, self._starts = _build(self._points, _WIDTH)

    def nearest(self, queries: Any) -> tuple[Float64[np.ndarray, "M"], Int64[np.ndarray, "M"]]:
        """Return the distance to the nearest point and its index, with as many threads as torch may use.

        Among equally near points it is always the same one, whatever the other queries.

        Args:
            queries: points [M, 3]; fastest if consecutive ones are close in space.
        """
        queries = as_points(queries)
        distances, found = np.empty(len(queries)), np.empty(len(queries), np.int64)
        tree = (self._points, self._leaves, self._nodes, self._starts, _WIDTH)
        run_tasks(_search, -(-len(queries) // _QUERIES_PER_TASK), queries, *tree, distances, found)
        return distances, self._order[found]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _morton_codes(points: np.ndarray) -> np.ndarray:
    """Interleaved bits of the coordinates."""
    codes = np.zeros(len(points), np.int64)
    for axis in range(3):
        low, high = np.inf, -np.inf
        for n in range(len(points)):
            low, high = min(low, points[n, axis]), max(high, points[n, axis])
        extent = max(high - low, 1e-12)
        for n in range(len(points)):
            bits = np.int64((points[n, axis] - low) / extent * _CURVE_STEPS)
            bits = (bits | (bits << 16)) & 0x030000FF
            bits = (bits | (bits << 8)) & 0x0300F00F
            bits = (bits | (bits << 4)) & 0x030C30C3
            bits = (bits | (bits << 2)) & 0x09249249
            codes[n] |= bits << axis
    return codes


@njit(cache=True, nogil=True)
def _build(points, width):  # type: ignore[no-untyped-def]
    """Leaves [L, 3, width] of coordinates; nodes [N, 6, width] of their children's boxes, the leaves' parents first;
    where each level starts among them. Missing entries in the last of a level are infinitely far."""
    num_leaves = (len(points) + width - 1) // width
    leaves = np.full((num_leaves, 3, width), np.inf)
    low, high = np.full((num_leaves, 3), np.inf), np.full((num_leaves, 3), -np.inf)
    for n in range(len(points)):
        leaf = n // width
        for axis in range(3):
            value = points[n, axis]
            leaves[leaf, axis, n % width] = value
            low[leaf, axis] = min(low[leaf, axis], value)
            high[leaf, axis] = max(high[leaf, axis], value)
    num_levels, num_nodes, count = 0, 0, num_leaves
    while num_levels == 0 or count > 1:
        count = (count + width - 1) // width
        num_nodes += count
        num_levels += 1
    nodes = np.full((num_nodes, 6, width), np.inf)
    starts = np.zeros(num_levels + 1, np.int64)
    for level in range(num_levels):
        count = (len(low) + width - 1) // width
        starts[level + 1] = starts[level] + count
        all_low, all_high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
        for child in range(len(low)):
            node = child // width
            for axis in range(3):
                nodes[starts[level] + node, axis, child % width] = low[child, axis]
                nodes[starts[level] + node, 3 + axis, child % width] = high[child, axis]
                all_low[node, axis] = min(all_low[node, axis], low[child, axis])
                all_high[node, axis] = max(all_high[node, axis], high[child, axis])
        low, high = all_low, all_high
    return leaves, nodes, starts


@njit(cache=True, nogil=True)
def _search(first, end, queries, points, leaves, nodes, starts, width, distances, found):  # type: ignore[no-untyped-def]
    """Depth first, nearest boxes first. Among equally near points the first along the curve is found: a box as near as
    the best point so far is searched."""
    waiting, levels, bounds = np.empty(_STACK, np.int64), np.empty(_STACK, np.int64), np.empty(_STACK)
    squares = np.empty(width)
    top = len(starts) - 2
    nearest = 0
    for n in range(first * _QUERIES_PER_TASK, min(end * _QUERIES_PER_TASK, len(queries))):
        x, y, z = queries[n, 0], queries[n, 1], queries[n, 2]
        dx, dy, dz = points[nearest, 0] - x, points[nearest, 1] - y, points[nearest, 2] - z
        best = dx * dx + dy * dy + dz * dz
        waiting[0], levels[0], bounds[0] = starts[top], top, 0.0
        size = 1
        while size > 0:
            size -= 1
            if bounds[size] > best:
                continue
            node, level = waiting[size], levels[size]
            if level < 0:
                leaf = leaves[node]
                for k in range(width):
                    dx, dy, dz = leaf[0, k] - x, leaf[1, k] - y, leaf[2, k] - z
                    squares[k] = dx * dx + dy * dy + dz * dz
                for k in range(width):
                    place = node * width + k
                    if squares[k] < best or (squares[k] == best and place < nearest):
                        best, nearest = squares[k], place
                continue
            box = nodes[node]
            for k in range(width):
                # Rounding is monotonic, so a box is never further than a point in it.
                dx = max(box[0, k] - x, x - box[3, k], 0.0)
                dy = max(box[1, k] - y, y - box[4, k], 0.0)
                dz = max(box[2, k] - z, z - box[5, k], 0.0)
                squares[k] = dx * dx + dy * dy + dz * dz
            children = (starts[level - 1] if level > 0 else 0) + (node - starts[level]) * width
            bottom = size
            for k in range(width):
                if squares[k] <= best:
                    place = size
                    while place > bottom and bounds[place - 1] < squares[k]:
                        bounds[place], waiting[place], levels[place] = (
                            bounds[place - 1],
                            waiting[place - 1],
                            levels[place - 1],
                        )
                        place -= 1
                    bounds[place], waiting[place], levels[place] = squares[k], children + k, level - 1
                    size += 1
        distances[n], found[n] = np.sqrt(best), nearest
