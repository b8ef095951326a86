"""Changes of images that several models make while training."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from raylift.core.device_copies import constant

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in an image's luminance (ITU-R BT.601)."""


def mirrored_where(values: Shaped[Tensor, "B *N"], which: Bool[Tensor, "B"], axis: int = -1) -> Shaped[Tensor, "B *N"]:
    """Mirror maps of some samples left to right.

    Args:
        axis: the one that runs along the image's rows.
    """
    return torch.where(which.view(-1, *[1] * (values.dim() - 1)), values.flip(axis), values)


def luminance(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 1 H W"]:
    """How bright RGB is."""
    return (image * constant(LUMA, image)[:, None, None]).sum(dim=1, keepdim=True)


def stretched(image: Tensor, center: Tensor | float, factor: Tensor) -> Tensor:
    """Colours at another distance from a centre: contrast around mid-grey, saturation around the image in grey."""
    return center + factor * (image - center)
