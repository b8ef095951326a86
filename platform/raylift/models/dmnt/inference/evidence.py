"""What an image's features say before any pose is known: clutter, and the best match of each category."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from raylift.core.errors import DataError
from raylift.models.dmnt.inference.texture_banks import TextureBanks
from raylift.networks.neural_texture import NeuralTexture

NEVER_SEEN = -1.0
"""Similarity with a texel that was never seen: the lowest cosine, so clutter always wins."""


@dataclass(frozen=True)
class Evidence:
    """Features of B square images, and what they match.

    Attributes:
        features: unit length.
        clutter: highest cosine similarity with a clutter feature.
        match: highest cosine similarity with a seen texel of each category.
    """

    features: Float[Tensor, "B D S S"]
    clutter: Float[Tensor, "B S S"]
    match: Float[Tensor, "B C S S"]

    @property
    def side(self) -> int:
        """Pixels per side, S."""
        return int(self.features.shape[-1])

    @staticmethod
    def of(features: Float[Tensor, "B D S S"], texture: NeuralTexture, banks: TextureBanks) -> Evidence:
        """Match features with the clutter and with every category.

        Raises:
            DataError: the feature map is not square.
        """
        if features.shape[2] != features.shape[3]:
            raise DataError(f"the feature map is {features.shape[2]} x {features.shape[3]}", "use square images")
        features = features.detach().float()
        match = [similarity(features, banks, category).amax(1) for category in range(len(banks.seen))]
        shape = (features.shape[0], len(match), *features.shape[2:])
        return Evidence(features, texture.scores(features).float(), torch.stack(match, 1).reshape(shape))

    def coarser(self, stride: int) -> Evidence:
        """Average blocks of ``stride`` x ``stride`` pixels; the features stay unit length.

        Raises:
            DataError: the stride does not divide the side.
        """
        if stride == 1:
            return self
        if self.side % stride:
            raise DataError(f"stride {stride} does not divide {self.side} pixels", "use a stride that divides the map")
        features = normalize(avg_pool2d(self.features, stride), dim=1)
        return Evidence(features, avg_pool2d(self.clutter[:, None], stride)[:, 0], avg_pool2d(self.match, stride))


def similarity(features: Float[Tensor, "B D S S"], banks: TextureBanks, category: int) -> Float[Tensor, "B T S*S"]:
    """Cosine similarity of every texel of one category with every pixel; ``NEVER_SEEN`` for texels never seen."""
    found = banks.features[category] @ features.flatten(2)
    return found.masked_fill_(~banks.seen[category][:, None], NEVER_SEEN)


def category_scores(evidence: Evidence, banks: TextureBanks) -> Float[Tensor, "B C"]:
    """Class scores without a pose: the mean over pixels of max(m, c) - c, m the category's best match (NOVUM).

    A category whose texture was never seen scores -inf.
    """
    gain = (evidence.match - evidence.clutter[:, None]).clamp(min=0).flatten(2).mean(2)
    return gain.masked_fill(~banks.seen.any(1), -torch.inf)


def proposals(scores: Float[Tensor, "B C"], count: int) -> Int[Tensor, "B K"]:
    """The best ``count`` categories of each image, best first; fewer if fewer were ever seen."""
    seen = int(torch.isfinite(scores).all(0).sum())
    return scores.topk(min(count, seen), dim=1).indices
