"""Config of the recognition networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.networks.pose_bins import PoseBinsConfig
from raylift.networks.resnet import Backbone

LEAST_PX = 32
"""The trunk's coarsest map is a 32nd of the image's side."""


@dataclass(frozen=True)
class RecognitionWeights:
    """Weights of the terms; each network has its own. Equation 6 of DMNT's appendix adds its losses with weight 1.

    Attributes:
        category: cross-entropy of the class, mean over images or regions (L_cls).
        pose: cross-entropy of the pose bins, mean over objects or their regions (L_pose).
        pose_offset: 1 - cos of the angles' errors within the true bins, mean over the same; only with offsets.
        amodal: cross-entropy of the whole outline, mean over pixels (L_mask).
        visible: the same of the visible outline; only of the ResNet.
        box: smooth L1 distance of the boxes of regions, mean over regions (L_box); only of Mask R-CNN.
        objectness, proposal: cross-entropy and smooth L1 distance of the region proposals, mean over anchors; only of
            Mask R-CNN.
    """

    category: float = 1.0
    pose: float = 1.0
    pose_offset: float = 1.0
    amodal: float = 1.0
    visible: float = 1.0
    box: float = 1.0
    objectness: float = 1.0
    proposal: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, 0, *vars(self), path="model.weights.")


@dataclass(frozen=True)
class TrunkConfig:
    """The network that both kinds share: a ResNet and a feature pyramid.

    Attributes:
        backbone, width: layout and width of our ResNet with group normalisation (see ``networks.resnet``).
        pretrained: name of a trunk with ImageNet's weights instead of ours, such as ``torchvision:resnet50`` (see
            ``networks.trunks``); empty trains ours from scratch.
        channels: channels of the feature pyramid; 256 in Mask R-CNN.
    """

    backbone: Backbone = "resnet50"
    width: int = 64
    pretrained: str = ""
    channels: int = 256

    def __post_init__(self) -> None:
        if min(self.width, self.channels) < 1:
            raise ConfigError(f"model.trunk.width {self.width}, channels {self.channels}", "use at least 1")


@dataclass(frozen=True)
class RegionsConfig:
    """Regions of Mask R-CNN; the defaults are torchvision's.

    Attributes:
        num_anchors: anchors per image that train the proposals, at most half of them on the object.
        num_proposals, num_test_proposals: proposals per image in training and in evaluation.
        num_regions: regions per image that train the heads, at most a quarter of them on the object.
        hidden: features of a region.
        mask_channels: channels of the mask head.
        mask_layers: 3x3 convolutions of the mask head.
    """

    num_anchors: int = 256
    num_proposals: int = 2000
    num_test_proposals: int = 1000
    num_regions: int = 512
    hidden: int = 1024
    mask_channels: int = 256
    mask_layers: int = 4

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1 or min(self.num_anchors, self.num_regions) < 4:
            raise ConfigError("model.regions has a count that is too small", "use at least 4 anchors and regions")


@dataclass(frozen=True)
class RecognitionConfig:
    """Config of the recognition networks.

    Attributes:
        network: "resnet" reads the whole image; "mask_rcnn" finds the object's box first.
        image_px: side of the images, a multiple of 32.
        mirror: whether half of the training images are mirrored left to right, with their outlines and poses.
        trunk, pose, regions, weights: nested configs, see their classes.
    """

    network: Literal["resnet", "mask_rcnn"] = "resnet"
    image_px: int = 256
    mirror: bool = True
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    pose: PoseBinsConfig = field(default_factory=PoseBinsConfig)
    regions: RegionsConfig = field(default_factory=RegionsConfig)
    weights: RecognitionWeights = field(default_factory=RecognitionWeights)

    def __post_init__(self) -> None:
        if self.image_px < LEAST_PX or self.image_px % LEAST_PX:
            raise ConfigError(f"model.image_px is {self.image_px}", "use a multiple of 32, such as 128 or 256")
