"""From a feature vector to an image: the common part of the flow, colour and variance decoders."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.networks.normalization import group_norm

COARSEST = 4
"""Shorter side of the vector's initial map."""


class UpsamplingDecoder(nn.Module):
    """Maps a vector to a small map, then doubles it (nearest, 3x3 convolution, group norm, ReLU) up to an image.

    Args:
        in_features: size of the vector.
        out_channels: channels of the image.
        height, width: size of the image; the shorter side must be 4 times a power of two, the longer one a multiple of
            that power.
        channels: channels of the coarsest map; halved with every doubling, down to 16.

    Attributes:
        last: output convolution, for callers that set its initial value.

    Raises:
        ConfigError: a size that doubling cannot reach.
    """

    def __init__(self, in_features: int, out_channels: int, height: int, width: int, channels: int = 256) -> None:
        super().__init__()
        factor = min(height, width) // COARSEST
        if factor < 1 or factor & (factor - 1) or min(height, width) % COARSEST or max(height, width) % factor:
            raise ConfigError(
                f"a decoder cannot make images of {height} x {width}",
                "make the shorter side 4 times a power of two and the longer one a multiple of it, such as 128 x 256",
            )
        self.grid = (height // factor, width // factor)
        self.channels = channels
        self.spread = nn.Linear(in_features, channels * self.grid[0] * self.grid[1])
        blocks: list[nn.Module] = []
        while factor > 1:
            narrow = max(channels // 2, 16)
            blocks.append(nn.Sequential(nn.Conv2d(channels, narrow, 3, padding=1, bias=False), group_norm(narrow)))
            channels, factor = narrow, factor // 2
        self.blocks = nn.ModuleList(blocks)
        self.last = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        x = functional.relu(self.spread(feature)).reshape(-1, self.channels, *self.grid)
        for block in self.blocks:
            x = functional.relu(block(functional.interpolate(x, scale_factor=2.0, mode="nearest")))
        picture: Tensor = self.last(x)
        return picture
