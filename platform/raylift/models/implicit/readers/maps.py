"""Feature maps of an image encoder, read at the projection of a point: equation 2 of the implicit paper, in 2D."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from raylift.models.implicit.config import ImplicitConfig
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State
from raylift.models.implicit.view import View
from raylift.networks.point_sampling import sample_map
from raylift.networks.resnet import Backbone, ResNetPyramid, normalize_image

MIDDLE_DEPTH, DEPTH_UNIT = 2.2, 0.5
"""Depth enters an encoder as (middle - z) / unit: about [-1, 1] on an object seen from the orbit's distance."""
CHANNELS = {"rgb": 3, "rgba": 4, "rgbad": 5}


class MapReader(Reader):
    """A ResNet's maps at every scale, each reduced by a 1x1 convolution and rectified.

    Args:
        config: config of the model.
        backbone: layout of the ResNet.
    """

    def __init__(self, config: ImplicitConfig, backbone: Backbone) -> None:
        super().__init__()
        self.inputs = config.encoder_inputs
        self.image_px = config.encoder_px or config.image_px
        self.encoder = ResNetPyramid(backbone, config.image_width, CHANNELS[self.inputs])
        self.reductions = nn.ModuleList(
            nn.Conv2d(channels, config.image_features, 1) for channels in self.encoder.channels
        )
        self.width = config.image_features * len(self.reductions)

    def encode(self, view: View) -> State:
        # The paper reads a map at the points and then applies the 1x1 convolution and ReLU. A 1x1 convolution commutes
        # with interpolation, so it is applied first, to the map, where it makes the reading up to 32 times narrower;
        # the ReLU does not commute and is applied after the reading (``read``).
        maps = self.encoder(self._input(view))
        return tuple(reduce(features) for reduce, features in zip(self.reductions, maps, strict=True))

    def read(self, state: State, query: Query) -> Reading:
        values = []
        for features, places in zip(state, self.encoder.places, strict=True):
            uv = places.coordinates(query.uv, self.image_px, features.shape[-1])
            values.append(functional.relu(sample_map(features, uv)))
        return Reading(torch.cat(values, -1))

    def _input(self, view: View) -> Tensor:
        parts = [view.image]
        if self.inputs != "rgb":
            parts.append(view.coverage)
        picture = _reduced(torch.cat(parts, 1), self.image_px)
        if self.inputs == "rgbad":
            depth = functional.interpolate(view.depth, (self.image_px, self.image_px), mode="nearest")
            shown = torch.where(depth > 0, (MIDDLE_DEPTH - depth) / DEPTH_UNIT, torch.full_like(depth, -1.2))
            picture = torch.cat([picture, 0.5 + 0.5 * shown], 1)
        return normalize_image(picture)


def _reduced(picture: Tensor, image_px: int) -> Tensor:
    """Downscale by averaging over the area of each new pixel."""
    if picture.shape[-1] == image_px:
        return picture
    return functional.interpolate(picture, (image_px, image_px), mode="area")
