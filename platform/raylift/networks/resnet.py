"""Residual image encoders (He et al. 2015) that return every scale, with group instead of batch normalisation."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.networks.normalization import group_norm
from raylift.networks.reading_places import ReadingPlaces

Backbone = Literal["resnet18", "resnet34", "resnet50"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (ResNet-18 and -34)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = group_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = group_norm(width)
        self.shortcut = _shortcut(in_channels, width * self.expansion, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut, four times as wide at the end (ResNet-50)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        wide = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm1 = group_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = group_norm(width)
        self.conv3 = nn.Conv2d(width, wide, 1, bias=False)
        self.norm3 = group_norm(wide)
        self.shortcut = _shortcut(in_channels, wide, stride)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        y = functional.relu(self.norm1(self.conv1(x)), inplace=True)
        y = functional.relu(self.norm2(self.conv2(y)), inplace=True)
        return functional.relu(self.norm3(self.conv3(y)) + self.shortcut(x))


_LAYOUTS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}


class ResNetPyramid(nn.Module):
    """A ResNet without its classifier, returning the map after every down-sampling layer.

    Args:
        backbone: layout of the network.
        width: channels of the first stage; 64 is ResNet's own.
        in_channels: channels of the image.

    Attributes:
        channels: channels of each of the five maps, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's side.
        places: input positions of each map's cells: convolutions with odd kernels put output i over pixel 2^k i.
    """

    def __init__(self, backbone: Backbone, width: int = 64, in_channels: int = 3) -> None:
        super().__init__()
        block, depths = _LAYOUTS[backbone]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 7, 2, padding=3, bias=False), group_norm(width), nn.ReLU(inplace=True)
        )
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        stages, channels = [], [width]
        for index, depth in enumerate(depths):
            blocks = []
            for position in range(depth):
                stride = 2 if index and position == 0 else 1
                before = channels[-1] if position == 0 else width * 2**index * block.expansion
                blocks.append(block(before, width * 2**index, stride))
            stages.append(nn.Sequential(*blocks))
            channels.append(width * 2**index * block.expansion)
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(channels)
        self.places = tuple(ReadingPlaces(0.0, 2.0 ** (index + 1)) for index in range(len(channels)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Float[Tensor, "B C H W"]) -> list[Tensor]:
        """Five maps, finest first: [B, channels[k], ceil(H / 2^(k+1)), ceil(W / 2^(k+1))]."""
        maps = [self.stem(image)]
        x = self.pool(maps[0])
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), group_norm(out_channels))


def normalize_image(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 H W"]:
    """Convert RGB in [0, 1] to [-1, 1], in the memory format that is fastest for convolutions."""
    return (2.0 * image - 1.0).contiguous(memory_format=torch.channels_last)
