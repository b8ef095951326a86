"""How well a render resembles the image, per image (shelf-supervised paper, equations 4 and 6).

Equation 6's features are a pretrained AlexNet's: ``networks.perceptual.PerceptualDistance``, the original's form of it.
Without its weights, the structure losses below and a discriminator's features take its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

STABILITY = (0.01**2, 0.03**2)
"""SSIM's constants for values in [0, 1] (Wang et al. 2004)."""


def rgb_l1_loss(rendered: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B"]:
    """||I_v - I||_1 (shelf-supervised paper, equation 4), as the mean over pixels and channels.

    The original's weight, 10, is for colours in [-1, 1]; for RGB in [0, 1] it is 20.
    """
    return (rendered - image).abs().flatten(1).mean(dim=1)


def feature_matching_loss(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Float[Tensor, "B"]:
    """||h(I_v) - h(I)|| with h a discriminator's layers, for equation 6 (shelf-supervised paper) without AlexNet.

    Mean absolute difference per layer, then the mean over layers (Wang et al. 2018, equation 2).

    Args:
        ours: each layer's activations [B, C, h, w] of the renders: ``logits_and_maps`` of a discriminator.
        theirs: those of the images; constant.
    """
    layers = [(a - b.detach()).abs().flatten(1).mean(dim=1) for a, b in zip(ours, theirs, strict=True)]
    return torch.stack(layers).mean(dim=0)


def multiscale_gradient_loss(
    rendered: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"], num_scales: int = 4
) -> Float[Tensor, "B"]:
    """Mean absolute difference of the images' gradients at several sizes, averaged over them (Li and Snavely 2018).

    Gradients are differences of adjacent pixels along both axes. Each further size is half of the one before.

    Args:
        num_scales: number of sizes, at least 1; those below 2 px are left out.
    """
    difference = rendered - image
    scales = []
    for _ in range(num_scales):
        if min(difference.shape[-2:]) < 2:
            break
        across = difference.diff(dim=-1).abs().flatten(1).mean(dim=1)
        down = difference.diff(dim=-2).abs().flatten(1).mean(dim=1)
        scales.append((across + down) / 2)
        difference = avg_pool2d(difference, 2)
    return torch.stack(scales).mean(dim=0)


def structural_dissimilarity_loss(
    rendered: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"], window_px: int = 7
) -> Float[Tensor, "B"]:
    """(1 - SSIM) / 2 with a square window, mean over its positions and the channels (Wang et al. 2004).

    SSIM is scikit-image's for ``data_range`` 1: sample variances, only windows inside of the image.

    Args:
        rendered, image: values in [0, 1], sides of at least ``window_px``.

    Returns:
        In [0, 1]; 0 for equal images.
    """
    number = window_px**2
    mean_a, mean_b = (avg_pool2d(x, window_px, stride=1) for x in (rendered, image))

    def covariance(a: Tensor, mean_of_a: Tensor, b: Tensor, mean_of_b: Tensor) -> Tensor:
        return (avg_pool2d(a * b, window_px, stride=1) - mean_of_a * mean_of_b) * (number / (number - 1))

    variances = covariance(rendered, mean_a, rendered, mean_a) + covariance(image, mean_b, image, mean_b)
    both = covariance(rendered, mean_a, image, mean_b)
    first, second = STABILITY
    alike = (2 * mean_a * mean_b + first) * (2 * both + second)
    ssim = alike / ((mean_a.square() + mean_b.square() + first) * (variances + second))
    return (1 - ssim.flatten(1).mean(dim=1)) / 2
