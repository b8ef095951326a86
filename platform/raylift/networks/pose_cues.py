"""Cues that distinguish poses in addition to the silhouette: luminance and saturation, or frozen features."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.core.generators import torch_generator
from raylift.geometry.framing import Box, framed_pictures
from raylift.networks.feature_maps import NUM_CHANNELS, FeatureMaps

CueName = Literal["none", "color", "alexnet", "vgg16", "random"]
NUM_PROJECTED = 8
"""Number of fixed random directions that feature maps are projected to."""
CLAMP = 2.5
"""Standard deviations at which a cue is clamped: a highlight must not dominate."""
LEAST_STD = 0.02
LUMINANCE = (0.3, 0.59, 0.11)


def num_cues(name: CueName) -> int:
    """Number of channels of a cue; 0 for none."""
    return {"none": 0, "color": 2}.get(name, NUM_PROJECTED)


class CueReader:
    """Framed cues of images. Not a module: it has no parameters to train or save.

    Args:
        name: cue name: "color" is luminance and saturation; "alexnet" and "vgg16" are ImageNet's last maps; "random" is
            untrained filters, for tests.

    Raises:
        WeightsError: missing pretrained weights; the message says which file to put where.
    """

    def __init__(self, name: CueName) -> None:
        self.name = name
        self._maps: FeatureMaps | None = None
        self._directions = torch.zeros(0)
        if name in ("alexnet", "vgg16", "random"):
            self._maps = FeatureMaps(name)
            draws = torch.randn(NUM_CHANNELS[name], NUM_PROJECTED, generator=torch_generator(0, "pose cues", name))
            self._directions = torch.linalg.qr(draws).Q.mT.contiguous()

    @torch.no_grad()
    def __call__(
        self, image: Float[Tensor, "B 3 H W"], masks: Float[Tensor, "B S S"], box: Box
    ) -> Float[Tensor, "B C P"]:
        """Cues standardised inside of each framed mask, 0 outside of it.

        Args:
            image: RGB in [0, 1].
            masks: framed silhouettes.
            box: boxes that framed them.
        """
        if self._maps is None:
            luminance = (image * constant(LUMINANCE, image)[:, None, None]).sum(dim=1)
            maps = torch.stack([luminance, image.amax(dim=1) - image.amin(dim=1)], dim=1)
        else:
            features = self._maps(image, image.shape[-1])
            maps = torch.einsum("cd,bdhw->bchw", self._directions.to(features), features)
        framed = framed_pictures(maps, box, masks.shape[-1]).flatten(2)
        return standardised(framed, (masks > 0.5).to(framed).flatten(1))


def standardised(values: Float[Tensor, "B C P"], mask: Float[Tensor, "B P"]) -> Float[Tensor, "B C P"]:
    """Standardise each channel to mean 0 and standard deviation 1 inside of the mask, clamp at 2.5; 0 outside."""
    count = mask.sum(dim=1).clamp(min=1)[:, None, None]
    inside = mask[:, None]
    mean = (values * inside).sum(dim=2, keepdim=True) / count
    spread = (((values - mean).square() * inside).sum(dim=2, keepdim=True) / count).sqrt().clamp(min=LEAST_STD)
    return ((values - mean) / spread).clamp(-CLAMP, CLAMP) * inside
