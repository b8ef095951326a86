"""Equation 4 against NumPy, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylift.losses.signed_distance_color import sign_cross_entropy, signed_distance_color_l1


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


@pytest.mark.parametrize("reached", [0.4, 0.6, 1.0])
def test_the_sign_changes_where_iou_is_largest(reached: float) -> None:
    """Groups of points that are inside in known shares of all scenes: the best answer to each group, by the loss and by
    expected intersection over expected union, must agree once the weight is 1 over that union's IoU."""
    shares = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
    # The more there are of the unlikelier ones, the smaller the best IoU.
    counts = torch.where(shares > 0.99 * reached / (1 + reached), 1.0, 5.0)
    order = shares.argsort(descending=True)
    inside, outside = (counts * shares)[order].cumsum(0), (counts * shares).sum()
    ious = inside / (counts[order].cumsum(0) + outside - inside)
    best, least = ious.max(), shares[order][ious.argmax()]
    scenes = (torch.arange(100)[:, None] < 100 * shares).double() - 0.5
    values = torch.zeros_like(shares, requires_grad=True)
    loss = sign_cross_entropy(values.expand(100, -1), -scenes, 0.01, float(1 / best)).mean(0)
    slope = torch.autograd.grad(loss.sum(), values)[0]
    # Where the loss falls with S at 0 the answer is "outside"; where it rises, "inside".
    wanted_inside = slope > 0
    assert abs(float(shares[wanted_inside].min() - least)) < 0.021, (best, least)
    assert torch.equal(wanted_inside, shares >= shares[wanted_inside].min())


def test_a_weight_of_one_leaves_the_likelier_sign() -> None:
    sdf, _, true_sdf, _ = _draws()
    plain = sign_cross_entropy(sdf - 0.5, true_sdf - 0.5, 0.1)
    inside = true_sdf < 0.5
    logits = (0.5 - sdf) / 0.1
    torch.testing.assert_close(plain, -torch.where(inside, logits.sigmoid(), 1 - logits.sigmoid()).log())
    torch.testing.assert_close(
        sign_cross_entropy(sdf - 0.5, true_sdf - 0.5, 0.1, 3.0), plain * torch.where(inside, 3.0, 1.0).double()
    )
