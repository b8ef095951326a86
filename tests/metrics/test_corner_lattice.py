"""DISN's lattice of voxels' corners: against closed forms, and a reference that clips triangles and walks by hand."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from itertools import product
from math import floor

import numpy as np
import pytest

from raylift.geometry.touched_cells import fill_cavities, touched_cells
from raylift.metrics.corner_lattice import corner_lattice
from tests.metrics.shapes import box, sphere, torus

Place = tuple[int, int, int]


def _touches(triangle: np.ndarray, cell: Place) -> bool:
    """Whether anything of the triangle is left when it is cut by the six planes of the cube around ``cell``."""
    polygon = [corner - cell for corner in triangle]
    for axis, sign in product(range(3), (1, -1)):
        kept = []
        for a, b in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            da, db = 0.5 - sign * a[axis], 0.5 - sign * b[axis]
            if da >= 0:
                kept.append(a)
            if da * db < 0:
                kept.append(a + (b - a) * da / (da - db))
        polygon = kept
    return bool(polygon)


def _solid(vertices: np.ndarray, faces: np.ndarray, cells_across: int) -> set[Place]:
    """Touched cells and what they enclose, one triangle and one cell at a time."""
    touched = set()
    for triangle in vertices[faces] * cells_across / 2:
        low, high = np.floor(triangle.min(axis=0)).astype(int), np.ceil(triangle.max(axis=0)).astype(int)
        for cell in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
            if cell not in touched and _touches(triangle, cell):
                touched.add(cell)
    low = [min(cell[axis] for cell in touched) - 1 for axis in range(3)]
    high = [max(cell[axis] for cell in touched) + 1 for axis in range(3)]
    outside, queue = {tuple(low)}, deque([tuple(low)])
    while queue:
        at = queue.popleft()
        for axis, step in product(range(3), (1, -1)):
            near = tuple(value + step * (axis == k) for k, value in enumerate(at))
            if low[axis] <= near[axis] <= high[axis] and near not in touched and near not in outside:
                outside.add(near)
                queue.append(near)
    return set(product(*(range(a, b + 1) for a, b in zip(low, high, strict=True)))) - outside


def _places(solid: set[Place], cells_across: int) -> set[Place]:
    """The lattice index of each corner, by the formula of DISN's evaluator in exact fractions."""
    found = set()
    for cell in solid:
        for corner in product(*((2 * k - 1, 2 * k + 1) for k in cell)):
            at = [Fraction(half, cells_across) for half in corner]
            found.add(tuple(floor((x + Fraction(11, 10)) / Fraction(24, 10) * cells_across) for x in at))
    return found


def _indices(first: np.ndarray, grid: np.ndarray) -> set[Place]:
    return {tuple(place) for place in (np.argwhere(grid) + first).tolist()}


def _turned(mesh: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    return mesh[0] @ turn, mesh[1]


MESHES = {
    "ball": sphere(0.8, 2),
    "turned box": _turned(box((1.1, 0.7, 0.4))),
    "turned torus": _turned(torus(0.6, 0.25)),
    "open": (sphere(0.8, 2)[0], sphere(0.8, 2)[1][:-20]),
    "sheet": (np.array([[-0.91, -0.63, 0.13], [0.82, -0.27, -0.44], [0.16, 0.93, 0.31]]), np.array([[0, 1, 2]])),
}


@pytest.mark.parametrize("name", MESHES)
def test_equals_the_reference(name: str) -> None:
    vertices, faces = MESHES[name]
    cells = 18
    grid, first = touched_cells(vertices, faces, 2.0 / cells, 100)
    solid = _solid(vertices, faces, cells)
    assert _indices(first, fill_cavities(grid)) == solid
    lattice = corner_lattice(vertices, faces, cells)
    assert _indices(lattice.first, lattice.occupied) == _places(solid, cells)


def test_box_by_hand() -> None:
    """A box of half an edge 0.4 touches the voxels -22 to 22 at 0.4 * 55 = 22: 46 corners an axis, 39 places."""
    lattice = corner_lattice(*box((0.8, 0.8, 0.8)))
    places = sorted({floor(Fraction(5 * k + 305, 6)) for k in range(-23, 23)})
    assert lattice.occupied.sum() == len(places) ** 3 == 39**3
    assert _indices(lattice.first, lattice.occupied) == set(product(places, repeat=3))


def test_overlap_of_boxes_by_hand() -> None:
    """Two boxes, one moved along x: the lattice is a product, so its overlap is that of one axis."""
    first, moved = corner_lattice(*box((0.8, 0.8, 0.8))), corner_lattice(*box((0.8, 0.8, 0.8), (0.5, 0, 0)))
    places = {floor(Fraction(5 * k + 305, 6)) for k in range(-23, 23)}
    # 0.5 is 27.5 voxels: the faces at 5.5 and 49.5 lie on borders, and touch the voxels on both sides.
    others = {floor(Fraction(5 * k + 305, 6)) for k in range(4, 51)}
    expected = len(places & others) / len(places | others)
    assert first.iou(moved) == moved.iou(first) == pytest.approx(expected, abs=1e-12)
    assert first.iou(first) == 1.0
    assert first.iou(corner_lattice(*box((0.2, 0.2, 0.2), (0, 0, 0.9)))) == 0.0


def test_a_stray_vertex_does_not_decide_the_size() -> None:
    vertices, faces = sphere(0.5, 2)
    far = np.array([[1e6, 0, 0], [1e6, 1, 0], [1e6, 0, 1]])
    lattice = corner_lattice(np.vstack([vertices, far]), np.vstack([faces, [len(vertices) + np.arange(3)]]))
    assert max(lattice.occupied.shape) < 250
    assert lattice.occupied.sum() == corner_lattice(vertices, faces).occupied.sum()
