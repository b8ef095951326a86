"""A small image-text network of our own, for sets of captioned images and machines without CLIP's weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.device_copies import upload
from raylift.core.errors import ConfigError
from raylift.networks.image_text.hashed_text import hashed_ngrams
from raylift.networks.image_text.towers import ImageTextModel
from raylift.networks.resnet import Backbone, ResNetPyramid

_MEAN, _STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class TwoTowerConfig:
    """Sizes of the two towers.

    Attributes:
        image_px: side of the images that the image tower reads.
        backbone, width: layout and width of the image tower (see ``networks.resnet``); 64 is ResNet's own width.
        num_features: size of the shared space.
        num_buckets: rows of the table of hashed n-grams.
        embedding: features per n-gram.
    """

    image_px: int = 64
    backbone: Backbone = "resnet18"
    width: int = 16
    num_features: int = 64
    num_buckets: int = 4096
    embedding: int = 64

    def __post_init__(self) -> None:
        if self.image_px < 32 or self.image_px % 32:
            raise ConfigError(f"model.towers.image_px is {self.image_px}", "use a multiple of 32, such as 64")
        if min(self.width, self.num_features, self.num_buckets, self.embedding) < 1:
            raise ConfigError("a size in model.towers is less than 1", "use at least 1")


class TwoTower(ImageTextModel):
    """A ResNet's mean over the image, and a multilayer perceptron on a mean of hashed n-grams (``hashed_text``).

    Samples never mix: group normalisation in the image tower, none in the text tower (law 1).
    """

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__(config.image_px, config.num_features, _MEAN, _STD)
        self.config = config
        self.pyramid = ResNetPyramid(config.backbone, config.width)
        self.image_head = nn.Linear(self.pyramid.channels[-1], config.num_features)
        self.ngrams = nn.Parameter(torch.randn(config.num_buckets, config.embedding))
        self.text_head = nn.Sequential(
            nn.Linear(config.embedding, 2 * config.num_features),
            nn.GELU(),
            nn.Linear(2 * config.num_features, config.num_features),
        )

    def image_features(self, pixels: Float[Tensor, "B 3 P P"]) -> Float[Tensor, "B D"]:
        last = self.pyramid(pixels.contiguous(memory_format=torch.channels_last))[-1]
        features: Tensor = self.image_head(last.mean(dim=(2, 3)))
        return features

    def text_features(self, texts: Sequence[str]) -> Float[Tensor, "B D"]:
        found = [hashed_ngrams(text, self.config.num_buckets) for text in texts]
        device = self.ngrams.device
        indices = upload(torch.tensor([index for one in found for index in one]), device)
        counts = upload(torch.tensor([len(one) for one in found]), device)
        bags = functional.embedding_bag(indices, self.ngrams, counts.cumsum(0) - counts, mode="sum")
        # The root of the count keeps the length of a sum of random rows the same for short and long texts.
        features: Tensor = self.text_head(bags / counts.to(bags.dtype).sqrt()[:, None])
        return features
