"""A residual discriminator in the manner of StyleGAN2."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from raylift.core.precision import at_least_float32
from raylift.networks.discriminators.statistics import check_sizes

SLOPE = 0.2
LAST_PX = 4
MOST_DOUBLINGS = 3
_BLUR = (1.0, 3.0, 3.0, 1.0)


class ResidualDiscriminator(nn.Module):
    """Residual blocks from the image's size to 4 x 4 pixels, then one logit (Karras et al. 2020, section 4.1).

    A block is two 3x3 convolutions and a blurred halving, with a blurred, halved 1x1 shortcut; their sum is divided by
    sqrt(2). There is no normalisation, and no standard deviation over the minibatch: that would couple samples, whereas
    R1 needs each sample's own gradient, and its gather over ranks would have to be differentiated twice.

    Args:
        in_channels: 3 for RGB, 4 for premultiplied RGB with alpha.
        width: channels at the image's size; each halving doubles them, at most three times.
        image_px: side of the images, a power of two from 8 px.

    Raises:
        ConfigError: sizes that the blocks cannot have.
    """

    def __init__(self, in_channels: int = 3, width: int = 64, image_px: int = 64) -> None:
        super().__init__()
        check_sizes(in_channels, width, image_px)
        num_halvings = (image_px // LAST_PX).bit_length() - 1
        widths = [width * 2 ** min(level, MOST_DOUBLINGS) for level in range(num_halvings + 1)]
        self.first = nn.Conv2d(in_channels, width, 1)
        self.blocks = nn.ModuleList(_Block(wide, wider) for wide, wider in pairwise(widths))
        self.mixing = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.hidden = nn.Linear(widths[-1] * LAST_PX**2, widths[-1])
        self.last = nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(
        self, image: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"] | None = None
    ) -> Float[Tensor, "B 1"]:
        """Compute a logit, above 0 for "real".

        Args:
            image: RGB, or premultiplied RGB and alpha, in [0, 1].
            noise: ignored: this discriminator sees images as they are.
        """
        return self.logits_and_maps(image, noise)[0]

    def logits_and_maps(
        self, image: Float[Tensor, "B C H W"], noise: Float[Tensor, "B C H W"] | None = None
    ) -> tuple[Float[Tensor, "B 1"], list[Tensor]]:
        """The logit of ``forward``, and every block's output [B, C, h, w], finest first."""
        x = leaky_relu(self.first(2 * image - 1), SLOPE)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        x = leaky_relu(self.mixing(x), SLOPE)
        x = leaky_relu(self.hidden(x.flatten(1)), SLOPE)
        return at_least_float32(self.last(x)), maps


class _Block(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        y = leaky_relu(self.conv1(x), SLOPE)
        y = blurred_half(leaky_relu(self.conv2(y), SLOPE))
        return (y + self.shortcut(blurred_half(x))) / math.sqrt(2)


def blurred_half(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
    """Half of the side by the binomial filter (1, 3, 3, 1) along both axes, with zeros beyond the border."""
    taps = torch.tensor(_BLUR, dtype=x.dtype, device=x.device) / sum(_BLUR)
    channels = x.shape[1]
    kernel = (taps[:, None] * taps).expand(channels, 1, -1, -1)
    return conv2d(x, kernel, stride=2, padding=1, groups=channels)
