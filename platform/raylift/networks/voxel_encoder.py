"""A 3D convolutional encoder that returns every scale (after IF-Net, Chibane et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.networks.normalization import group_norm
from raylift.networks.reading_places import ReadingPlaces

NUM_SCALES = 4


class VoxelPyramid(nn.Module):
    """Convolutions on a grid, each scale with half the resolution and twice the width of the previous one.

    As in IF-Net, the raw grid is the first volume; every scale has one convolution that enters it and, below the grid's
    own resolution, one more. Unlike IF-Net, features are read at the point only, without its Cartesian neighbourhood
    (section 3.2: the neighbourhood overfitted quickly).

    Args:
        in_channels: channels of the grid: 4 (density and colour) or 1.
        width: channels of the finest scale.
        stride: stride of the first convolution: 1 keeps the grid's resolution (IF-Net), 2 halves it, which saves a CPU
            most of the encoder's time.

    Attributes:
        channels: channels of each returned volume: the raw grid, then the four scales.
        places: input positions of each volume's cells.
    """

    def __init__(self, in_channels: int, width: int = 16, stride: int = 1) -> None:
        super().__init__()
        scales: list[nn.Module] = []
        places = [ReadingPlaces()]
        before = in_channels
        for index in range(NUM_SCALES):
            wide = width * 2**index
            layers: list[nn.Module] = [nn.MaxPool3d(2, ceil_mode=True)] if index else []
            layers += _convolution(before, wide, 1 if index else stride)
            if index or stride > 1:
                layers += _convolution(wide, wide, 1)
            scales.append(nn.Sequential(*layers))
            places.append(places[-1].then(layers))
            before = wide
        self.scales = nn.ModuleList(scales)
        self.channels = (in_channels, *(width * 2**index for index in range(NUM_SCALES)))
        self.places = tuple(places)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, grid: Float[Tensor, "B C R R R"]) -> list[Tensor]:
        """Five volumes, finest first: the grid, then [B, width 2^k, r, r, r] with r = R / (stride 2^k), k = 0..3."""
        volumes = [grid.contiguous(memory_format=torch.channels_last_3d)]
        for scale in self.scales:
            volumes.append(scale(volumes[-1]))
        return volumes


def _convolution(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv3d(in_channels, out_channels, 3, stride, padding=1, bias=False),
        group_norm(out_channels),
        nn.ReLU(inplace=True),
    ]
