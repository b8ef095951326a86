"""Tests which points are inside a triangle mesh: crossing parity along an axis, fast enough for a million points.

Triangles are binned into columns of a square grid over two axes; a point checks only its own column's triangles and
counts those that the ray along the third axis crosses. A consistent rule for rays through edges and vertices (each
belongs to exactly one of the triangles that share it, as in rasterisation) makes the parity exact on closed meshes. It
is evaluated in integers, on a lattice of 2^28 steps over the mesh, because rounded products would break it where
corners and point are nearly collinear. For a mesh with an open edge, the majority of three axes counts, so that one
hole does not decide.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

MAX_COLUMNS = 512
"""Largest number of columns per side; about one per triangle's extent is best."""

LATTICE_STEPS = 1 << 28
"""Lattice steps over the mesh's larger extent: points move by 4e-9 of it, and products fit in 64 bits."""


def is_closed(faces: Int[np.ndarray, "F 3"]) -> bool:
    """Whether every directed edge has as many opposite ones: then any line has an even number of crossings."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    edges = edges[edges[:, 0] != edges[:, 1]]
    size = int(edges.max(initial=0)) + 1
    forward = np.sort(edges[:, 0] * size + edges[:, 1])
    backward = np.sort(edges[:, 1] * size + edges[:, 0])
    return bool(np.array_equal(forward, backward))


class InsideTest:
    """A mesh prepared for many inside tests.

    Args:
        vertices: finite positions [V, 3], any unit.
        faces: vertex indices [F, 3].
    """

    def __init__(self, vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        self._faces = np.ascontiguousarray(faces, dtype=np.int64)
        self._vertices = np.ascontiguousarray(vertices, dtype=np.float64)
        self.closed = is_closed(self._faces)
        self._columns = [self._bin(axis) for axis in ((2,) if self.closed else (2, 0, 1))]

    def contains(self, points: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N"]:
        """Whether each point is inside; a point exactly on the surface may fall on either side."""
        if len(self._faces) == 0:
            return np.zeros(len(points), bool)
        points = np.ascontiguousarray(points, dtype=np.float64)
        votes = np.zeros(len(points), np.int64)
        for columns in self._columns:
            votes += columns.parity(points)
        return votes * 2 > len(self._columns)

    def _bin(self, axis: int) -> _Columns:
        return _Columns(self._vertices, self._faces, axis)


class _Columns:
    """Triangles binned into columns of a grid over the two other axes."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray, axis: int) -> None:
        self._order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        self._axis = axis
        corners = vertices[faces][:, :, self._order]  # [F, 3, 3]: two grid axes, then the ray's
        self._triangles = np.ascontiguousarray(corners.reshape(-1, 9))
        self._size = int(np.clip(np.sqrt(len(faces)), 1, MAX_COLUMNS))
        low = corners[..., :2].min(axis=(0, 1)) if len(faces) else np.zeros(2)
        high = corners[..., :2].max(axis=(0, 1)) if len(faces) else np.ones(2)
        self._low = low
        self._per_cell = self._size / np.maximum(high - low, 1e-12)
        # Integers make the sign of an edge's side exact, see above.
        self._steps_a_unit = LATTICE_STEPS / max(float((high - low).max()), 1e-12)
        self._lattice = np.ascontiguousarray(self._on_lattice(corners[..., :2], low).reshape(-1, 6))
        self._starts, self._members = _bin_triangles(self._triangles, self._low, self._per_cell, self._size)

    def _on_lattice(self, values: np.ndarray, low: np.ndarray | float) -> np.ndarray:
        # Points beyond the mesh stay beyond it, but not so far that products overflow.
        steps = np.clip((values - low) * self._steps_a_unit, -LATTICE_STEPS, 2 * LATTICE_STEPS)
        return np.rint(np.nan_to_num(steps)).astype(np.int64)

    def parity(self, points: np.ndarray) -> np.ndarray:
        mesh = (self._triangles, self._lattice, self._starts, self._members)
        order = np.array(self._order)
        seen_at = self._on_lattice(points[:, self._order[:2]], self._low)
        odd: np.ndarray = _count_parity(points, seen_at, order, *mesh, self._low, self._per_cell, self._size)
        return odd


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _owns(ax: int, ay: int, bx: int, by: int, px: int, py: int) -> bool:
    """Whether p is left of the directed edge a->b; an edge through p counts in one direction only.

    A point on the edge's line counts as moved slightly towards +y and far less towards -x: the same move for all edges,
    so the triangles around an edge or a corner agree on which of them it crosses.
    """
    swapped = (bx < ax) or (bx == ax and by < ay)
    if swapped:
        value = (ax - bx) * (py - by) - (ay - by) * (px - bx)
        return bool(value < 0)
    value = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    return bool(value >= 0)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _covers(q: np.ndarray, f: int, px: int, py: int) -> bool:
    """Whether the ray through (px, py) crosses triangle f: on the same side of its three edges. All on the lattice."""
    if q[f, 0] == q[f, 2] and q[f, 1] == q[f, 3]:
        return False  # seen edge-on; such an edge has no side, and three of them would let every ray through
    first = _owns(q[f, 0], q[f, 1], q[f, 2], q[f, 3], px, py)
    second = _owns(q[f, 2], q[f, 3], q[f, 4], q[f, 5], px, py)
    if first != second:
        return False
    third = _owns(q[f, 4], q[f, 5], q[f, 0], q[f, 1], px, py)
    return bool(first == third)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _height(t: np.ndarray, f: int, px: float, py: float) -> float:
    """Height at which the ray through (px, py) meets the plane of triangle f; NaN if they are parallel."""
    ux, uy, uz = t[f, 3] - t[f, 0], t[f, 4] - t[f, 1], t[f, 5] - t[f, 2]
    vx, vy, vz = t[f, 6] - t[f, 0], t[f, 7] - t[f, 1], t[f, 8] - t[f, 2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    if nz == 0.0:
        # Seen edge-on: by the edge rule no ray crosses it, except by rounding; any of its heights works.
        return float(t[f, 2])
    height = t[f, 2] - (nx * (px - t[f, 0]) + ny * (py - t[f, 1])) / nz
    low = min(t[f, 2], t[f, 5], t[f, 8])
    high = max(t[f, 2], t[f, 5], t[f, 8])
    return float(min(max(height, low), high))


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bin_triangles(t: np.ndarray, low: np.ndarray, per_cell: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Build compressed lists: the triangles of column c are members[starts[c]:starts[c + 1]]."""
    num = t.shape[0]
    boxes = np.empty((num, 4), np.int64)
    counts = np.zeros(size * size + 1, np.int64)
    for f in range(num):
        for k in range(2):
            lo = min(t[f, k], t[f, 3 + k], t[f, 6 + k])
            hi = max(t[f, k], t[f, 3 + k], t[f, 6 + k])
            boxes[f, k] = min(max(int(np.floor((lo - low[k]) * per_cell[k])), 0), size - 1)
            boxes[f, 2 + k] = min(max(int(np.floor((hi - low[k]) * per_cell[k])), 0), size - 1)
        for a in range(boxes[f, 0], boxes[f, 2] + 1):
            for b in range(boxes[f, 1], boxes[f, 3] + 1):
                counts[a * size + b + 1] += 1
    starts = np.cumsum(counts)
    members = np.empty(starts[-1], np.int64)
    cursor = starts[:-1].copy()
    for f in range(num):
        for a in range(boxes[f, 0], boxes[f, 2] + 1):
            for b in range(boxes[f, 1], boxes[f, 3] + 1):
                members[cursor[a * size + b]] = f
                cursor[a * size + b] += 1
    return starts, members


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count_parity(
    points: np.ndarray,
    seen_at: np.ndarray,
    order: np.ndarray,
    t: np.ndarray,
    q: np.ndarray,
    starts: np.ndarray,
    members: np.ndarray,
    low: np.ndarray,
    per_cell: np.ndarray,
    size: int,
) -> np.ndarray:
    """1 where the ray from the point towards +axis crosses an odd number of triangles."""
    num = points.shape[0]
    odd = np.zeros(num, np.int64)
    # Points are visited column by column (a counting sort): a column's triangles then stay in the cache.
    column = np.full(num, -1, np.int64)
    ends = np.zeros(size * size + 1, np.int64)
    for n in range(num):
        fa, fb = (points[n, order[0]] - low[0]) * per_cell[0], (points[n, order[1]] - low[1]) * per_cell[1]
        # The far border is in the last column; NaN fails every comparison and stays outside.
        if fa >= 0.0 and fb >= 0.0 and fa <= size and fb <= size:
            column[n] = min(int(fa), size - 1) * size + min(int(fb), size - 1)
            ends[column[n] + 1] += 1
    for c in range(size * size):
        ends[c + 1] += ends[c]
    visits = np.empty(ends[-1], np.int64)
    cursor = ends[:-1].copy()
    for n in range(num):
        if column[n] >= 0:
            visits[cursor[column[n]]] = n
            cursor[column[n]] += 1
    for visit in range(len(visits)):
        n = visits[visit]
        px, py, pz = points[n, order[0]], points[n, order[1]], points[n, order[2]]
        crossings = 0
        for m in range(starts[column[n]], starts[column[n] + 1]):
            f = members[m]
            if t[f, 2] <= pz and t[f, 5] <= pz and t[f, 8] <= pz:
                continue
            if _covers(q, f, seen_at[n, 0], seen_at[n, 1]) and _height(t, f, px, py) > pz:
                crossings += 1
        odd[n] = crossings & 1
    return odd
