"""Feature maps of a pretrained image encoder, read at the projection of a point."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from raylift.models.implicit.config import ImplicitConfig
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State
from raylift.models.implicit.view import View
from raylift.networks.point_sampling import sample_map
from raylift.networks.pretrained_pyramid import PretrainedPyramid


class PretrainedMapReader(Reader):
    """An ImageNet trunk's maps at every scale, each reduced by a 1x1 convolution and rectified.

    Args:
        config: config of the model; the encoder sees the readers' images, with sides of ``image_px``.
    """

    def __init__(self, config: ImplicitConfig) -> None:
        super().__init__()
        self.image_px = config.image_px
        self.encoder = PretrainedPyramid(config.pretrained.name, frozen=config.pretrained.frozen)
        self.reductions = nn.ModuleList(
            nn.Conv2d(channels, config.image_features, 1) for channels in self.encoder.channels
        )
        self.width = config.image_features * len(self.reductions)

    def encode(self, view: View) -> State:
        maps = self.encoder(view.image)
        return tuple(reduce(features) for reduce, features in zip(self.reductions, maps, strict=True))

    def read(self, state: State, query: Query) -> Reading:
        values = []
        for features, places in zip(state, self.encoder.places, strict=True):
            uv = places.coordinates(query.uv, self.image_px, features.shape[-1])
            values.append(functional.relu(sample_map(features, uv)))
        return Reading(torch.cat(values, -1))
