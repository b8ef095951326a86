"""The discriminator of the shelf-supervised model: one logit per image, and one per layer's statistics."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from raylift.core.errors import ConfigError
from raylift.core.precision import at_least_float32
from raylift.networks.discriminators.spectral import SpectralConv2d

SLOPE = 0.2
LEAST_VARIANCE = 1e-5
INPUT_NOISE = 0.02
LAST_PX = 2


class StatisticsDiscriminator(nn.Module):
    """D of the shelf-supervised paper, equation 7, as in the original's code (Ye et al. 2021, after HoloGAN).

    5x5 convolutions of stride 2 with spectral normalisation halve the image down to 2 x 2 pixels and double the
    channels; all but the first are followed by instance normalisation. Each of those layers also has a linear head on
    its means over the image, before normalisation, and on its standard deviations. At 64 px there are five layers and
    four heads, and ``width`` 128 makes 2048 channels, the original's.

    Args:
        in_channels: 3 for RGB, 4 for premultiplied RGB with alpha.
        width: channels after the first convolution.
        image_px: side of the images, a power of two from 8 px.
        noise: standard deviation of the noise added to images in [-1, 1]; ``forward`` is given the draws.

    Raises:
        ConfigError: sizes that the layers cannot have.
    """

    def __init__(self, in_channels: int = 3, width: int = 128, image_px: int = 64, noise: float = INPUT_NOISE) -> None:
        super().__init__()
        check_sizes(in_channels, width, image_px)
        self.noise = noise
        widths = [width * 2**level for level in range((image_px // LAST_PX).bit_length() - 1)]
        self.first = SpectralConv2d(in_channels, width, 5, 2, padding=2)
        self.layers = nn.ModuleList(SpectralConv2d(wide, wider, 5, 2, padding=2) for wide, wider in pairwise(widths))
        self.scales = nn.ParameterList(nn.Parameter(torch.ones(1, wide, 1, 1)) for wide in widths[1:])
        self.shifts = nn.ParameterList(nn.Parameter(torch.zeros(1, wide, 1, 1)) for wide in widths[1:])
        self.heads = nn.ModuleList(nn.Linear(wide, 1) for wide in widths[1:])
        self.last = nn.Linear(widths[-1], 1)

    def forward(
        self, image: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"] | None = None
    ) -> Float[Tensor, "B N"]:
        """Compute logits, above 0 for "real": the image's, then each layer's of its means and of its deviations.

        Args:
            image: RGB, or premultiplied RGB and alpha, in [0, 1].
            noise: standard normals of the input noise (``keyed_noise``); None adds none.
        """
        return self.logits_and_maps(image, noise)[0]

    def logits_and_maps(
        self, image: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"] | None = None
    ) -> tuple[Float[Tensor, "B N"], list[Tensor]]:
        """The logits of ``forward``, and every layer's activations [B, C, h, w], finest first."""
        x = 2 * image - 1
        if noise is not None:
            x = x + self.noise * noise
        x = leaky_relu(self.first(x), SLOPE)
        maps, logits = [x], []
        for layer, scale, shift, head in zip(self.layers, self.scales, self.shifts, self.heads, strict=True):
            x = layer(x)
            mean, deviation = channel_statistics(x)
            logits += [head(mean.flatten(1)), head(deviation.flatten(1))]
            x = leaky_relu((x - mean) / deviation * scale + shift, SLOPE)
            maps.append(x)
        return at_least_float32(torch.cat([self.last(x.mean(dim=(2, 3))), *logits], dim=1)), maps


def channel_statistics(x: Float[Tensor, "B C H W"]) -> tuple[Float[Tensor, "B C 1 1"], Float[Tensor, "B C 1 1"]]:
    """Mean and standard deviation of every sample's channels over the image, at least in float32."""
    x = at_least_float32(x)
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = (x - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, (variance + LEAST_VARIANCE).sqrt()


def check_sizes(in_channels: int, width: int, image_px: int) -> None:
    """Refuse sizes that no discriminator has.

    Raises:
        ConfigError: other channels than 3 or 4, no width, or a side that is no power of two from 8.
    """
    if in_channels not in (3, 4):
        raise ConfigError(f"a discriminator of {in_channels} channels", "use 3 (RGB) or 4 (RGB and alpha)")
    if width < 1:
        raise ConfigError(f"a discriminator of width {width}", "use at least 1, such as 16")
    if image_px < 8 or image_px & (image_px - 1):
        raise ConfigError(f"a discriminator of {image_px} px", "use a power of two from 8, such as 32 or 64")
