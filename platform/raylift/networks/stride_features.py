"""A feature per image cell for comparing images with surfaces: unit vectors, read at the cells' centres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.core.precision import at_least_float32
from raylift.networks.normalization import group_norm
from raylift.networks.pretrained_pyramid import PretrainedPyramid
from raylift.networks.resnet import Backbone, ResNetPyramid, normalize_image


@dataclass(frozen=True)
class StrideFeaturesConfig:
    """The backbone.

    Attributes:
        backbone: ResNet layout of an untrained backbone.
        pretrained: ImageNet encoder to use instead, a name of ``networks.trunks``; "" for none.
        frozen: whether a pretrained encoder is not trained; the layers on top of it always are.
        width: channels of an untrained backbone's first stage; 64 is ResNet's own.
        stride: pixels per cell; 8 in NeMo and its relatives.
        hidden: channels of the layers that join the backbone's maps.
        channels: D, channels of a feature; 128 in NeMo and its relatives.
    """

    backbone: Backbone = "resnet50"
    pretrained: str = ""
    frozen: bool = False
    width: int = 64
    stride: Literal[4, 8, 16] = 8
    hidden: int = 256
    channels: int = 128

    def __post_init__(self) -> None:
        if min(self.width, self.hidden, self.channels) < 1:
            raise ConfigError("the backbone's width, hidden and channels must be at least 1", "use larger numbers")
        if self.stride not in (4, 8, 16):
            raise ConfigError(f"the backbone's stride is {self.stride}", "use 4, 8 or 16")


class StrideFeatures(nn.Module):
    """Image -> F: every map from the stride on, read at the cells' centres, added, and joined by two convolutions.

    The relatives of the paper up-sample the last map twice, as if its cells tiled the image. A strided convolution is
    centred elsewhere (``networks.reading_places``), by half a cell here, so maps are read where they were computed.

    Args:
        config: sizes and kind of the backbone.

    Raises:
        ConfigError: an unknown encoder, or one without a map that fine. Missing weights raise on first use.
    """

    def __init__(self, config: StrideFeaturesConfig) -> None:
        super().__init__()
        self.config = config
        self.pyramid: ResNetPyramid | PretrainedPyramid = (
            PretrainedPyramid(config.pretrained, config.frozen)
            if config.pretrained
            else ResNetPyramid(config.backbone, config.width)
        )
        places, channels = self.pyramid.places, self.pyramid.channels
        self.levels = tuple(level for level, place in enumerate(places) if place.spacing >= config.stride)
        if not self.levels or places[self.levels[0]].spacing > config.stride:
            raise ConfigError(
                f"the encoder's maps have spacings {[int(place.spacing) for place in places]}, none of {config.stride}",
                "choose another model.features.stride or encoder",
            )
        hidden = config.hidden
        self.reduce = nn.ModuleList(nn.Conv2d(channels[level], hidden, 1, bias=False) for level in self.levels)
        self.norms = nn.ModuleList(group_norm(hidden) for _ in self.levels)
        self.join = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1, bias=False), group_norm(hidden), nn.ReLU(inplace=True)
        )
        self.head = nn.Conv2d(hidden, config.channels, 1, bias=False)

    def cells(self, image_px: int) -> int:
        """Side of F for images of that side.

        Raises:
            ConfigError: the stride does not divide it.
        """
        if image_px % self.config.stride:
            raise ConfigError(
                f"images of {image_px} pixels have no whole number of cells of {self.config.stride}",
                "choose an image_px that the stride divides",
            )
        return image_px // self.config.stride

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B D h w"]:
        """Features of square RGB in [0, 1]: unit vectors, float32, of H / stride cells an edge."""
        side = image.shape[-1]
        size = self.cells(side)
        own = isinstance(self.pyramid, ResNetPyramid)
        maps = self.pyramid(normalize_image(image) if own else image)
        joined: Tensor | None = None
        for level, reduce, norm in zip(self.levels, self.reduce, self.norms, strict=True):
            part = self._at_centres(norm(reduce(maps[level])), level, side, size)
            joined = part if joined is None else joined + part
        assert joined is not None
        found = self.head(self.join(functional.relu(joined)))
        with torch.autocast(image.device.type, enabled=False):
            return functional.normalize(at_least_float32(found), dim=1)

    def _at_centres(self, values: Tensor, level: int, side: int, size: int) -> Tensor:
        """A map read at the centres of size x size cells."""
        centres = (2 * torch.arange(size, device=values.device, dtype=torch.float64) + 1) / size - 1
        axis = self.pyramid.places[level].coordinates(centres, side, values.shape[-1]).to(values.dtype)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        grid = torch.stack([columns, rows], dim=-1).expand(len(values), -1, -1, -1)
        return functional.grid_sample(values, grid, padding_mode="border", align_corners=False)
