"""mask_soft and mask_hard against loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.metrics.silhouette import mask_hard, mask_soft


def test_soft_overlap_equals_a_loop() -> None:
    a, b = np.random.default_rng(0).random((2, 5, 7))
    both = sum(a[i, j] * b[i, j] for i in range(5) for j in range(7))
    either = sum(a[i, j] + b[i, j] - a[i, j] * b[i, j] for i in range(5) for j in range(7))
    assert mask_soft(a, b) == pytest.approx(both / either, rel=1e-12)


def test_two_squares() -> None:
    a, b = np.zeros((8, 8)), np.zeros((8, 8))
    a[:, :4], b[:, 2:6] = 1.0, 1.0
    assert mask_hard(a, b) == mask_soft(a, b) == pytest.approx(1 / 3)
    # Half coverage counts in full for the hard score, and by half for the soft one.
    assert mask_hard(0.5 * a, a) == 1.0
    assert mask_soft(0.5 * a, a) == pytest.approx(0.5)


def test_nothing_equals_nothing_and_sizes_must_match() -> None:
    empty = np.zeros((4, 4))
    assert mask_soft(empty, empty) == mask_hard(empty, empty) == 1.0
    assert mask_soft(empty, np.ones((4, 4))) == 0.0
    with pytest.raises(DataError, match="resolution"):
        mask_hard(empty, np.zeros((2, 2)))
