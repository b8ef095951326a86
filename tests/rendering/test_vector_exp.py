"""The exponential of rows of pixels against NumPy's in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from raylift.rendering.vector_exp import LARGEST, vector_exp


@njit
def exponentials(x: np.ndarray, out: np.ndarray) -> None:
    for index in range(x.shape[0]):
        out[index] = vector_exp(x[index])


@pytest.mark.parametrize(("kind", "tolerance"), [(np.float32, 2e-7), (np.float64, 1e-15)])
def test_it_is_the_exponential(kind: type, tolerance: float) -> None:
    x = np.linspace(-LARGEST, LARGEST, 10001).astype(kind)
    out = np.empty_like(x)
    exponentials(x, out)
    np.testing.assert_allclose(out.astype(np.float64), np.exp(x.astype(np.float64)), rtol=tolerance)


def test_large_arguments_are_held() -> None:
    x = np.array([-1e30, -200, 200, np.inf], np.float32)
    out = np.empty_like(x)
    exponentials(x, out)
    np.testing.assert_allclose(np.log(out), [-LARGEST, -LARGEST, LARGEST, LARGEST], rtol=1e-6)
