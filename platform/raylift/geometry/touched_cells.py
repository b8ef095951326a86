"""Conservative voxelisation: every cell of a regular grid that a surface touches, and what such cells enclose."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Int64
from numba import njit
from scipy import ndimage

_MARGIN = 1e-6
"""Tolerance in cells: a surface exactly on a border touches the cells on both sides of it."""


def touched_cells(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], cell: float, limit: int
) -> tuple[Bool[np.ndarray, "X Y Z"], Int64[np.ndarray, "3"]]:
    """Find the cells that a triangle touches.

    Args:
        vertices: positions in any unit.
        faces: faces, at least one.
        cell: edge of a cell; cell k of an axis spans [(k - 1/2) cell, (k + 1/2) cell].
        limit: largest cell index; cells beyond +-limit are omitted, so that a stray vertex does not determine the
            grid's size.

    Returns:
        the grid, with a margin of one empty cell on every side, and the index k of its first cell per axis.
    """
    corners = np.ascontiguousarray(vertices[faces].reshape(-1, 9) / cell, dtype=np.float64)
    by_axis = corners.reshape(-1, 3)
    first = np.clip(np.rint(by_axis.min(axis=0)).astype(np.int64), -limit, limit) - 2
    last = np.clip(np.rint(by_axis.max(axis=0)).astype(np.int64), -limit, limit) + 2
    grid = np.zeros(last - first + 1, bool)
    _mark(corners, first, grid)
    for axis in range(3):
        edges = np.moveaxis(grid, axis, 0)
        edges[0] = edges[-1] = False
    return grid, first


def fill_cavities(touched: Bool[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
    """Find cells without a path to the outside through untouched cells by shared faces; the first is outside."""
    regions, _ = ndimage.label(~touched)
    return np.asarray(regions != regions[0, 0, 0])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _mark(corners: np.ndarray, first: np.ndarray, grid: np.ndarray) -> None:
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for f in range(corners.shape[0]):
        for axis in range(3):
            a, b, c = corners[f, axis], corners[f, 3 + axis], corners[f, 6 + axis]
            low[axis] = max(int(np.rint(min(a, b, c) - _MARGIN)) - first[axis], 0)
            high[axis] = min(int(np.rint(max(a, b, c) + _MARGIN)) - first[axis], grid.shape[axis] - 1)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    if not grid[i, j, k] and _touches(corners[f], i + first[0], j + first[1], k + first[2]):
                        grid[i, j, k] = True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _touches(corners: np.ndarray, i: int, j: int, k: int) -> bool:
    """Whether a triangle and the unit cube around (i, j, k) meet: no axis separates them.

    Two convex polyhedra are disjoint only if their projections are on one of these axes: the normals of their faces and
    the cross products of their edges. The caller's box of cells covers the normals of the cube's faces.
    """
    t = np.empty((3, 3))
    for v in range(3):
        t[v, 0], t[v, 1], t[v, 2] = corners[3 * v] - i, corners[3 * v + 1] - j, corners[3 * v + 2] - k
    edges = np.empty((3, 3))
    for v in range(3):
        edges[v] = t[(v + 1) % 3] - t[v]
    normal = np.cross(edges[0], edges[1])
    if _separates(normal[0], normal[1], normal[2], t):
        return False
    for v in range(3):
        x, y, z = edges[v]
        if _separates(0.0, -z, y, t) or _separates(z, 0.0, -x, t) or _separates(-y, x, 0.0, t):
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _separates(x: float, y: float, z: float, t: np.ndarray) -> bool:
    """Whether the projections of a triangle and the unit cube around the origin on an axis are disjoint."""
    a = x * t[0, 0] + y * t[0, 1] + z * t[0, 2]
    b = x * t[1, 0] + y * t[1, 1] + z * t[1, 2]
    c = x * t[2, 0] + y * t[2, 1] + z * t[2, 2]
    reach = 0.5 * (abs(x) + abs(y) + abs(z)) + 1e-12
    return bool(min(a, b, c) > reach or max(a, b, c) < -reach)
