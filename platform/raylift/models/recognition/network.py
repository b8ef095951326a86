"""The shared trunk, and the ResNet with heads for class, pose and outlines."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from raylift.core.precision import at_least_float32
from raylift.models.recognition.config import RecognitionConfig, TrunkConfig
from raylift.networks.normalization import group_norm
from raylift.networks.pose_bins import PoseBinHead, PoseBins
from raylift.networks.pretrained_pyramid import PretrainedPyramid
from raylift.networks.resnet import ResNetPyramid, normalize_image

NUM_LEVELS = 4
"""Levels of the feature pyramid, at 1/4 to 1/32 of the image's side."""


class Trunk(nn.Module):
    """A ResNet and its feature pyramid (Lin et al. 2017).

    Args:
        config: which ResNet, and the pyramid's channels.
        extra_level: whether the pyramid also has 1/64, as region proposals use it.

    Attributes:
        out_features: channels of the ResNet's last map.
    """

    def __init__(self, config: TrunkConfig, extra_level: bool) -> None:
        super().__init__()
        self.encoder: nn.Module
        if config.pretrained:
            self.encoder = PretrainedPyramid(config.pretrained, frozen=False)
        else:
            self.encoder = ResNetPyramid(config.backbone, config.width)
        scales = list(self.encoder.channels)[-NUM_LEVELS:]
        self.normalizes = not config.pretrained
        self.pyramid = FeaturePyramidNetwork(scales, config.channels, LastLevelMaxPool() if extra_level else None)
        self.out_features = scales[-1]

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> tuple[OrderedDict[str, Tensor], Float[Tensor, "B D h w"]]:
        """Pyramid levels "0" (finest) to "3", and "pool" with the extra one, of RGB in [0, 1]; and the last map."""
        maps = self.encoder(normalize_image(image) if self.normalizes else image)[-NUM_LEVELS:]
        levels = self.pyramid(OrderedDict((str(index), one) for index, one in enumerate(maps)))
        return levels, maps[-1]


@dataclass(frozen=True)
class HeadOutputs:
    """What the ResNet's heads say of B images.

    Attributes:
        category: logits of the categories; the last is "none of them".
        feature: what the pose head reads.
        masks: logits of the amodal and of the visible outline, at a quarter of the image's side.
    """

    category: Float[Tensor, "B C+1"]
    feature: Float[Tensor, "B D"]
    masks: Float[Tensor, "B 2 h w"]


class MultiHeadResNet(nn.Module):
    """A ResNet with a linear head each for class and pose bins, and a pyramid head for both outlines.

    The outlines come from the sum of the pyramid's levels, as in panoptic feature pyramids (Kirillov et al. 2019).
    """

    def __init__(self, config: RecognitionConfig, num_categories: int) -> None:
        super().__init__()
        channels = config.trunk.channels
        self.trunk = Trunk(config.trunk, extra_level=False)
        self.category = nn.Linear(self.trunk.out_features, num_categories + 1)
        self.pose = PoseBinHead(self.trunk.out_features, num_categories, config.pose)
        self.masks = nn.Sequential(
            group_norm(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            nn.Conv2d(channels, 2, 1),
        )  # fmt: skip

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> HeadOutputs:
        """All but the pose, which may depend on the category (``pose_of``)."""
        levels, last = self.trunk(image)
        feature = last.mean(dim=(2, 3))
        fine = levels["0"].shape[-2:]
        total = torch.stack(
            [functional.interpolate(one, fine, mode="bilinear", align_corners=False) for one in levels.values()]
        ).sum(0)
        return HeadOutputs(at_least_float32(self.category(feature)), feature, at_least_float32(self.masks(total)))

    def pose_of(self, outputs: HeadOutputs, category: Int[Tensor, "B"]) -> PoseBins:
        """The pose's bins for objects of these categories."""
        bins: PoseBins = self.pose(outputs.feature, category)
        return bins
