"""Discriminators by name."""

from __future__ import annotations

from typing import Literal

from raylift.core.errors import ConfigError
from raylift.networks.discriminators.residual import ResidualDiscriminator
from raylift.networks.discriminators.statistics import StatisticsDiscriminator

DiscriminatorKind = Literal["statistics", "residual"]
Discriminator = StatisticsDiscriminator | ResidualDiscriminator


def make_discriminator(kind: DiscriminatorKind, in_channels: int, width: int, image_px: int) -> Discriminator:
    """A discriminator whose initial weights follow from torch's generator.

    Args:
        kind: "statistics" is the original's, "residual" StyleGAN2's.
        in_channels: 3 for RGB, 4 for premultiplied RGB with alpha.
        width: channels of the first layer.
        image_px: side of the images, a power of two.

    Raises:
        ConfigError: an unknown kind, or sizes that it cannot have.
    """
    if kind == "statistics":
        return StatisticsDiscriminator(in_channels, width, image_px)
    if kind == "residual":
        return ResidualDiscriminator(in_channels, width, image_px)
    raise ConfigError(f"unknown discriminator {kind!r}", "use 'statistics' or 'residual'")
