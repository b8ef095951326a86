"""Equations 4 and 6 of the shelf-supervised paper, and what takes equation 6's place without AlexNet."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import structural_similarity

from raylift.losses.image_similarity import (
    feature_matching_loss,
    multiscale_gradient_loss,
    rgb_l1_loss,
    structural_dissimilarity_loss,
)


def _images(seed: int, px: int = 12) -> torch.Tensor:
    return torch.rand(3, 3, px, px, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equation_4_is_a_mean_per_image() -> None:
    rendered, image = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    image[1, :, :2] = 0.5
    assert rgb_l1_loss(rendered, image).tolist() == [0.0, 0.25]


def test_ssim_is_scikit_images() -> None:
    ours, theirs = _images(0, 20), _images(1, 20)
    theirs = 0.6 * ours + 0.4 * theirs
    found = structural_dissimilarity_loss(ours, theirs)
    for index in range(3):
        expected = structural_similarity(ours[index].numpy(), theirs[index].numpy(), channel_axis=0, data_range=1.0)
        assert float(found[index]) == pytest.approx((1 - expected) / 2, abs=1e-9)
    assert structural_dissimilarity_loss(ours, ours).abs().max() < 1e-12


def test_gradients_ignore_a_constant_and_see_an_edge_at_every_size() -> None:
    image = _images(0, 16)
    assert multiscale_gradient_loss(image + 0.3, image).max() < 1e-12
    edge = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    edge[..., 8:] = 1.0
    # A vertical edge: one of 15, 7 and 3 differences along rows, none along columns.
    expected = (1 / 15 + 1 / 7 + 1 / 3) / 2 / 3
    assert float(multiscale_gradient_loss(edge, 0 * edge, num_scales=3)) == pytest.approx(expected)
    assert float(multiscale_gradient_loss(edge, 0 * edge, num_scales=4)) == pytest.approx((expected * 3 + 0.5) / 4)
    assert torch.equal(multiscale_gradient_loss(edge, 0 * edge, 9), multiscale_gradient_loss(edge, 0 * edge, 4))


def test_features_are_matched_layer_by_layer() -> None:
    ours = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.zeros(2, 6, 2, 2)]
    theirs = [torch.ones(2, 3, 4, 4, requires_grad=True), torch.full((2, 6, 2, 2), 3.0)]
    found = feature_matching_loss(ours, theirs)
    assert found.tolist() == [2.0, 2.0]
    found.sum().backward()
    assert ours[0].grad is not None
    assert theirs[0].grad is None


@pytest.mark.parametrize("loss", [rgb_l1_loss, multiscale_gradient_loss, structural_dissimilarity_loss])
def test_gradients(loss) -> None:  # type: ignore[no-untyped-def]
    rendered = _images(0, 8).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, _images(1, 8)), rendered)
