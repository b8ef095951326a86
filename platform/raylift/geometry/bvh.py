"""A bounding-volume hierarchy over triangles: exact closest points, compiled for the CPU.

Built by binned surface-area splits (Wald 2007), traversed nearest child first. Kernels release the GIL and use one
core: to use more threads, split the points.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numba import njit

from raylift.core.errors import DataError

_LEAF_SIZE = 4
_NUM_BINS = 16
_SAH_DEPTH = 48  # below it, median splits: they bound the depth, and so the stack, by 48 + 32
_STACK = 128


def as_triangles(vertices: Any, faces: Any) -> tuple[Float64[np.ndarray, "V 3"], Int64[np.ndarray, "F 3"]]:
    """Convert a mesh to float64 vertices and int64 faces, and check it.

    Raises:
        DataError: wrong shapes, indices out of range, or coordinates that are not finite.
    """
    vertices = np.ascontiguousarray(np.asarray(vertices), np.float64)
    faces = np.asarray(faces)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise DataError(
            f"the mesh has vertices of shape {vertices.shape} and faces of shape {faces.shape}",
            "pass vertices [V, 3] and triangles [F, 3]",
        )
    if not np.issubdtype(faces.dtype, np.integer):
        raise DataError(f"the mesh has faces of type {faces.dtype}", "use integer vertex indices")
    faces = np.ascontiguousarray(faces, np.int64)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise DataError(
            f"the mesh's faces index vertices {faces.min()} to {faces.max()} of {len(vertices)}", "repair its faces"
        )
    if not np.isfinite(vertices).all():
        raise DataError("the mesh has vertices that are not finite", "remove or repair those vertices")
    return vertices, faces


def as_points(points: Any) -> Float64[np.ndarray, "N 3"]:
    """Convert points to contiguous float64.

    Raises:
        DataError: a wrong shape, or coordinates that are not finite.
    """
    array: np.ndarray = np.ascontiguousarray(np.asarray(points), np.float64)
    if array.ndim != 2 or array.shape[1] != 3:
        raise DataError(f"the points have shape {array.shape}", "pass points [N, 3]")
    if not np.isfinite(array).all():
        raise DataError("some points are not finite", "remove them before computing distances")
    return array


class TriangleBvh:
    """Triangles in a hierarchy of boxes.

    Args:
        vertices: positions [V, 3]; computed in float64.
        faces: vertex indices [F, 3]; degenerate triangles are allowed and count as segments or points.

    Raises:
        DataError: no faces, indices out of range, or coordinates that are not finite.
    """

    def __init__(self, vertices: Any, faces: Any) -> None:
        vertices, faces = as_triangles(vertices, faces)
        if len(faces) == 0:
            raise DataError("the mesh has no faces", "use a mesh with at least one triangle")
        corners = vertices[faces]
        self.order, self._boxes, self._links = _build(corners)
        self._corners = corners[self.order]

    def __len__(self) -> int:
        return len(self.order)

    def closest(
        self, points: Any, max_distance: float = np.inf
    ) -> tuple[Float64[np.ndarray, "N"], Int64[np.ndarray, "N"], Float64[np.ndarray, "N 3"]]:
        """Distance to the nearest triangle, that triangle, and the nearest point on it.

        Args:
            points: query points [N, 3].
            max_distance: upper bound. If nothing is nearer, the distance is this bound, the face -1 and the closest
                point the point itself: a small bound makes truncated distances cheap.
        """
        points = as_points(points)
        distances, faces, nearest = _closest(points, self._boxes, self._links, self._corners, float(max_distance))
        return distances, np.where(faces >= 0, self.order[faces], -1), nearest


@njit(cache=True, nogil=True)
def _build(corners):  # type: ignore[no-untyped-def]
    """(order, boxes [nodes, 6], links [nodes, 2]): an inner node links to its children (right = left + 1, right -1);
    a leaf stores (start, count) with count > 0."""
    count = corners.shape[0]
    order = np.arange(count)
    centers = np.empty((count, 3))
    lows = np.empty((count, 3))
    highs = np.empty((count, 3))
    for f in range(count):
        for a in range(3):
            low = min(corners[f, 0, a], corners[f, 1, a], corners[f, 2, a])
            high = max(corners[f, 0, a], corners[f, 1, a], corners[f, 2, a])
            lows[f, a], highs[f, a], centers[f, a] = low, high, 0.5 * (low + high)

    boxes = np.empty((2 * count, 6))
    links = np.empty((2 * count, 2), np.int64)
    stack = np.empty((_STACK, 4), np.int64)  # node, start, stop, depth
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 0, count, 0
    top, num_nodes = 1, 1
    bin_count = np.empty(_NUM_BINS, np.int64)
    bin_box = np.empty((_NUM_BINS, 6))
    left_cost = np.empty(_NUM_BINS)
    box = np.empty(6)
    while top > 0:
        top -= 1
        node, start, stop, depth = stack[top, 0], stack[top, 1], stack[top, 2], stack[top, 3]
        for a in range(3):
            low, high = np.inf, -np.inf
            for i in range(start, stop):
                low, high = min(low, lows[order[i], a]), max(high, highs[order[i], a])
            boxes[node, a], boxes[node, 3 + a] = low, high
        if stop - start <= _LEAF_SIZE:
            links[node, 0], links[node, 1] = start, stop - start
            continue

        best_cost, best_axis, best_bin, best_low, best_scale = np.inf, -1, 0, 0.0, 0.0
        widest_axis, widest = 0, -1.0
        for a in range(3):
            low, high = np.inf, -np.inf
            for i in range(start, stop):
                low, high = min(low, centers[order[i], a]), max(high, centers[order[i], a])
            if high - low > widest:
                widest_axis, widest = a, high - low
            if high - low <= 1e-300 or depth >= _SAH_DEPTH:
                continue
            scale = _NUM_BINS / (high - low)
            bin_count[:] = 0
            bin_box[:, :3], bin_box[:, 3:] = np.inf, -np.inf
            for i in range(start, stop):
                f = order[i]
                b = min(_NUM_BINS - 1, int((centers[f, a] - low) * scale))
                bin_count[b] += 1
                for k in range(3):
                    bin_box[b, k] = min(bin_box[b, k], lows[f, k])
                    bin_box[b, 3 + k] = max(bin_box[b, 3 + k], highs[f, k])
            box[:3], box[3:] = np.inf, -np.inf
            held = 0
            for b in range(_NUM_BINS - 1):
                held += bin_count[b]
                _grow(box, bin_box[b])
                left_cost[b] = held * _area(box) if held else np.inf
            box[:3], box[3:] = np.inf, -np.inf
            held = 0
            for b in range(_NUM_BINS - 1, 0, -1):
                held += bin_count[b]
                _grow(box, bin_box[b])
                cost = left_cost[b - 1] + held * _area(box) if held else np.inf
                if cost < best_cost:
                    best_cost, best_axis, best_bin, best_low, best_scale = cost, a, b, low, scale

        if best_axis >= 0:
            i, j = start, stop - 1
            while i <= j:
                f = order[i]
                if min(_NUM_BINS - 1, int((centers[f, best_axis] - best_low) * best_scale)) < best_bin:
                    i += 1
                else:
                    order[i], order[j] = order[j], f
                    j -= 1
            middle = i
        else:
            part = order[start:stop].copy()
            order[start:stop] = part[np.argsort(centers[part, widest_axis])]
            middle = (start + stop) // 2
        links[node, 0], links[node, 1] = num_nodes, -1
        for child in range(2):
            stack[top, 0] = num_nodes + child
            stack[top, 1] = start if child == 0 else middle
            stack[top, 2] = middle if child == 0 else stop
            stack[top, 3] = depth + 1
            top += 1
        num_nodes += 2
    return order, boxes[:num_nodes].copy(), links[:num_nodes].copy()


@njit(cache=True, nogil=True, inline="always")
def _grow(box, other):  # type: ignore[no-untyped-def]
    for k in range(3):
        box[k] = min(box[k], other[k])
        box[3 + k] = max(box[3 + k], other[3 + k])


@njit(cache=True, nogil=True, inline="always")
def _area(box):  # type: ignore[no-untyped-def]
    x, y, z = box[3] - box[0], box[4] - box[1], box[5] - box[2]
    return x * y + y * z + z * x


@njit(cache=True, nogil=True)
def _box_distance(box, x, y, z):  # type: ignore[no-untyped-def]
    dx = max(box[0] - x, 0.0, x - box[3])
    dy = max(box[1] - y, 0.0, y - box[4])
    dz = max(box[2] - z, 0.0, z - box[5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
def _closest(points, boxes, links, corners, max_distance):  # type: ignore[no-untyped-def]
    count = points.shape[0]
    distances = np.empty(count)
    faces = np.empty(count, np.int64)
    nearest = np.empty((count, 3))
    stack = np.empty(_STACK, np.int64)
    bounds = np.empty(_STACK)
    last = -1
    for p in range(count):
        x, y, z = points[p, 0], points[p, 1], points[p, 2]
        best, found = max_distance * max_distance, -1
        nx, ny, nz = x, y, z
        if last >= 0:  # neighbours in the list are often neighbours in space: a good initial bound
            qx, qy, qz = _closest_on_triangle(corners[last], x, y, z)
            squared = (qx - x) ** 2 + (qy - y) ** 2 + (qz - z) ** 2
            if squared < best:
                best, found, nx, ny, nz = squared, last, qx, qy, qz
        stack[0], bounds[0] = 0, _box_distance(boxes[0], x, y, z)
        top = 1
        while top > 0:
            top -= 1
            if bounds[top] >= best:
                continue
            node = stack[top]
            if links[node, 1] < 0:
                left = links[node, 0]
                near, far = left, left + 1
                near_bound, far_bound = _box_distance(boxes[near], x, y, z), _box_distance(boxes[far], x, y, z)
                if far_bound < near_bound:
                    near, far, near_bound, far_bound = far, near, far_bound, near_bound
                if far_bound < best:
                    stack[top], bounds[top] = far, far_bound
                    top += 1
                if near_bound < best:
                    stack[top], bounds[top] = near, near_bound
                    top += 1
                continue
            for f in range(links[node, 0], links[node, 0] + links[node, 1]):
                qx, qy, qz = _closest_on_triangle(corners[f], x, y, z)
                squared = (qx - x) ** 2 + (qy - y) ** 2 + (qz - z) ** 2
                if squared < best:
                    best, found, nx, ny, nz = squared, f, qx, qy, qz
        distances[p], faces[p] = np.sqrt(best), found
        nearest[p, 0], nearest[p, 1], nearest[p, 2] = nx, ny, nz
        if found >= 0:
            last = found
    return distances, faces, nearest


@njit(cache=True, nogil=True)
def _closest_on_segment(ax, ay, az, bx, by, bz, x, y, z):  # type: ignore[no-untyped-def]
    dx, dy, dz = bx - ax, by - ay, bz - az
    length = dx * dx + dy * dy + dz * dz
    t = 0.0
    if length > 0.0:
        t = min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy + (z - az) * dz) / length))
    return ax + t * dx, ay + t * dy, az + t * dz


@njit(cache=True, nogil=True)
def _closest_on_triangle(triangle, x, y, z):  # type: ignore[no-untyped-def]
    """The foot of the perpendicular where it falls inside, else the nearest point of the three edges.

    The region tests are Ericson's (Real-Time Collision Detection, 5.1.5); a triangle without area has no inside.
    """
    ax, ay, az = triangle[0, 0], triangle[0, 1], triangle[0, 2]
    ux, uy, uz = triangle[1, 0] - ax, triangle[1, 1] - ay, triangle[1, 2] - az
    vx, vy, vz = triangle[2, 0] - ax, triangle[2, 1] - ay, triangle[2, 2] - az
    px, py, pz = x - ax, y - ay, z - az
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    pu, pv = px * ux + py * uy + pz * uz, px * vx + py * vy + pz * vz
    determinant = uu * vv - uv * uv
    if determinant > 1e-14 * uu * vv:
        s = (vv * pu - uv * pv) / determinant
        t = (uu * pv - uv * pu) / determinant
        if s >= 0.0 and t >= 0.0 and s + t <= 1.0:
            return ax + s * ux + t * vx, ay + s * uy + t * vy, az + s * uz + t * vz
    bx, by, bz = triangle[1, 0], triangle[1, 1], triangle[1, 2]
    cx, cy, cz = triangle[2, 0], triangle[2, 1], triangle[2, 2]
    qx, qy, qz = _closest_on_segment(ax, ay, az, bx, by, bz, x, y, z)
    best = (qx - x) ** 2 + (qy - y) ** 2 + (qz - z) ** 2
    rx, ry, rz = _closest_on_segment(bx, by, bz, cx, cy, cz, x, y, z)
    other = (rx - x) ** 2 + (ry - y) ** 2 + (rz - z) ** 2
    if other < best:
        best, qx, qy, qz = other, rx, ry, rz
    rx, ry, rz = _closest_on_segment(cx, cy, cz, ax, ay, az, x, y, z)
    if (rx - x) ** 2 + (ry - y) ** 2 + (rz - z) ** 2 < best:
        return rx, ry, rz
    return qx, qy, qz
