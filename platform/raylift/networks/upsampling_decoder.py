"""From a feature vector to a picture: what the flow and the variance decoder have in common."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.networks.normalization import group_norm

COARSEST = 4
"""The shorter side of the map that the vector is turned into."""


class UpsamplingDecoder(nn.Module):
    """A vector to a small map, then doublings (nearest, 3x3 convolution, group norm, ReLU) up to a picture.

    Args:
        in_features: of the vector.
        out_channels: of the picture.
        height, width: of the picture; the shorter side must be 4 times a power of two, the longer one a multiple of
            that power.
        channels: of the coarsest map; halved with every doubling, down to 16.

    Attributes:
        last: the convolution that makes the picture, for whoever wants its initial value to be something.

    Raises:
        ConfigError: a size that doublings do not reach.
    """

    def __init__(self, in_features: int, out_channels: int, height: int, width: int, channels: int = 256) -> None:
        super().__init__()
        factor = min(height, width) // COARSEST
        if factor < 1 or factor & (factor - 1) or min(height, width) % COARSEST or max(height, width) % factor:
            raise ConfigError(
                f"a decoder for pictures of {height} x {width}",
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
