"""Vectors of channels against NumPy, for both types and beyond the first vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from raylift.rendering.volume.cells import LANES, blend, corner_weights, slopes
from raylift.rendering.volume.lanes import add_blend, pulled_blend, spread

PLACES = tuple(np.uint64(2 * LANES * cell) for cell in (0, 1, 4, 5, 9, 10, 13, 14))


@njit
def _blended(total: np.ndarray, row: np.ndarray, places: Any, weights: Any) -> None:
    for lane in range(0, len(total), LANES):
        add_blend(total, row, lane, places, weights)


@njit
def _spread(row: np.ndarray, places: Any, weights: Any, pull: np.ndarray) -> None:
    for lane in range(0, len(pull), LANES):
        spread(row, lane, places, weights, pull)


@njit
def _pulled(row: np.ndarray, lane: int, places: Any, fractions: Any, pull: np.ndarray) -> Any:
    return pulled_blend(row, lane, places, fractions, pull)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_they_do_what_numpy_does(kind: Any) -> None:
    rng, close = np.random.default_rng(0), {"rtol": 0, "atol": 2e-6 if kind == np.float32 else 1e-14}
    row = rng.normal(size=15 * 2 * LANES).astype(kind)
    corners = np.stack([row[int(place) : int(place) + 2 * LANES] for place in PLACES])
    fractions = tuple(kind(value) for value in (0.2, 0.9, 0.4))
    weights = tuple(kind(value) for value in corner_weights.py_func(kind, *fractions, kind(0.7)))
    pull = rng.normal(size=2 * LANES).astype(kind)

    total = rng.normal(size=2 * LANES).astype(kind)
    expected = total + np.array(weights) @ corners
    _blended(total, row, PLACES, weights)
    np.testing.assert_allclose(total, expected, **close)

    grown = row.copy()
    _spread(grown, PLACES, weights, pull)
    expected = row.copy()
    for place, weight in zip(PLACES, weights, strict=True):
        expected[int(place) : int(place) + 2 * LANES] += weight * pull
    np.testing.assert_allclose(grown, expected, **close)

    for lane in (0, LANES):
        products = tuple(corners[:, lane : lane + LANES] @ pull[lane : lane + LANES])
        by_hand = blend.py_func(kind, products, *fractions), *slopes.py_func(kind, products, *fractions)
        np.testing.assert_allclose(_pulled(row, lane, PLACES, fractions, pull), by_hand, **close)
