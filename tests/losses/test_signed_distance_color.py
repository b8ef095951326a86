"""Equation 4 against NumPy, and its gradient."""

from __future__ import annotations

import numpy as np
import torch

from raylift.losses.signed_distance_color import signed_distance_color_l1


def _draws(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    shapes = [(2, 5), (2, 5, 3), (2, 5), (2, 5, 3)]
    return [torch.rand(shape, dtype=dtype) for shape in shapes]


def test_equation_4_equals_numpy() -> None:
    """The weighted sum over points, as the paper writes it."""
    sdf, color, true_sdf, true_color = _draws()
    sdf_error, color_error = signed_distance_color_l1(sdf, color, true_sdf, true_color)
    total = 0.0
    for b in range(2):
        for n in range(5):
            total += 0.5 * np.linalg.norm((color - true_color)[b, n].numpy(), ord=1)
            total += 10.0 * abs(float(sdf[b, n] - true_sdf[b, n]))
    np.testing.assert_allclose(float((10.0 * sdf_error + 0.5 * color_error).sum()), total, rtol=1e-12)


def test_zero_only_where_equal() -> None:
    sdf, color, *_ = _draws()
    sdf_error, color_error = signed_distance_color_l1(sdf, color, sdf, color)
    assert not sdf_error.any()
    assert not color_error.any()
    assert sdf_error.shape == color_error.shape == (2, 5)


def test_gradient() -> None:
    sdf, color, true_sdf, true_color = _draws()
    sdf.requires_grad_()
    color.requires_grad_()
    assert torch.autograd.gradcheck(lambda s, c: signed_distance_color_l1(s, c, true_sdf, true_color), (sdf, color))
