"""The tree of points against all distances and against SciPy's k-d tree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from raylift.core import kernel_threads
from raylift.core.errors import DataError
from raylift.geometry.point_tree import PointTree, curve_order


def _ball(count: int, radius: float, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 64, 65, 500])
def test_nearest_is_the_least_of_all_distances(count: int) -> None:
    rng = np.random.default_rng(count)
    points, queries = rng.random((count, 3)), 3 * rng.random((200, 3)) - 1
    distances, found = PointTree(points).nearest(queries)
    every = cdist(queries, points)
    np.testing.assert_allclose(distances, every.min(axis=1), rtol=1e-14)
    assert found.tolist() == every.argmin(axis=1).tolist()
    assert [len(part) for part in PointTree(points).nearest(queries[:0])] == [0, 0]


@pytest.mark.parametrize(("radius", "flat"), [(0.4, 1.0), (0.3, 1.0), (0.1, 1.0), (0.4, 0.0)])
def test_distances_equal_scipys_to_the_last_bit(radius: float, flat: float) -> None:
    points, queries = _ball(20_000, 0.4, 0), _ball(5000, radius, 1) * [1.0, 1.0, flat]
    distances, found = PointTree(points).nearest(queries)
    expected, same = cKDTree(points).query(queries)
    assert np.array_equal(distances, expected)
    assert np.array_equal(found, same)


def test_of_equally_near_points_it_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lattice asked at its cells' centres, alone and among other queries, by one thread and by three."""
    axis = np.arange(12.0)
    lattice = np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)
    tree, queries = PointTree(lattice), np.tile(lattice[:1000] + 0.5, (5, 1))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    found = tree.nearest(queries)[1]
    assert np.array_equal(found[:1000], found[4000:])
    assert [int(tree.nearest(query[None])[1][0]) for query in queries[:300]] == found[:300].tolist()
    monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda: 3)
    assert np.array_equal(tree.nearest(queries[::-1])[1], found[::-1])


def test_the_curve_keeps_neighbors_together() -> None:
    points = np.random.default_rng(0).random((20_000, 3))
    ordered = points[curve_order(points)]
    steps = np.linalg.norm(np.diff(ordered, axis=0), axis=1)
    assert steps.mean() < 0.1 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    assert sorted(curve_order(np.ones((5, 3)))) == list(curve_order(np.ones((5, 3)))) == [0, 1, 2, 3, 4]


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="finite"):
        PointTree(np.full((3, 3), np.nan))
    with pytest.raises(DataError, match="finite"):
        PointTree(np.zeros((3, 3))).nearest(np.full((1, 3), np.inf))
