"""Mask R-CNN (He et al. 2017) of torchvision's parts, with a pose head among the heads of a region.

Modules, anchors, box coding, suppression and pooling are torchvision's. The matching is for one object per image, and
the sampling and the losses are ours (``mask_rcnn``): torchvision draws from the process's generator and averages over
each worker's own images.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign

from raylift.core.precision import at_least_float32
from raylift.models.recognition.config import RecognitionConfig
from raylift.models.recognition.network import NUM_LEVELS, Trunk
from raylift.networks.pose_bins import PoseBinHead, PoseBins

ANCHOR_SIDES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Of each pyramid level, relative to the image's side: torchvision's 32 to 512 pixels of an image of 512."""
ASPECT_RATIOS = (0.5, 1.0, 2.0)
BOX_POOL, MASK_POOL = 7, 14
"""Cells along a region's side for the heads; the mask's side is twice the latter."""
NMS_IOU, ANCHOR_IOU, NO_ANCHOR_IOU = 0.7, 0.7, 0.3
REGION_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""torchvision's defaults."""


@dataclass(frozen=True)
class Proposals:
    """What the proposal network says of B images, and the pyramid that it read.

    Attributes:
        levels: pyramid levels by name.
        anchors: left, top, right, bottom in pixels, the same for every image.
        objectness: logit of each anchor.
        deltas: coded offset of each anchor's box.
        boxes: for each image the best boxes after suppression, pixels, detached.
    """

    levels: OrderedDict[str, Tensor]
    anchors: Float[Tensor, "A 4"]
    objectness: Float[Tensor, "B A"]
    deltas: Float[Tensor, "B A 4"]
    boxes: list[Tensor]


@dataclass(frozen=True)
class RegionOutputs:
    """What the box head says of R regions.

    Attributes:
        category: logits of the categories; the last is "none of them", the background.
        deltas: coded offset of the box for each category.
        feature: what the pose head reads.
    """

    category: Float[Tensor, "R C+1"]
    deltas: Float[Tensor, "R C+1 4"]
    feature: Float[Tensor, "R D"]


class Detector(nn.Module):
    """Trunk, proposals, and heads of regions for class, box, pose and mask.

    Args:
        config: sizes and counts.
        num_categories: number of categories, without "none of them".
    """

    def __init__(self, config: RecognitionConfig, num_categories: int) -> None:
        super().__init__()
        counts, channels = config.regions, config.trunk.channels
        self.image_px, self.num_categories = config.image_px, num_categories
        self.trunk = Trunk(config.trunk, extra_level=True)
        sides = tuple((round(side * config.image_px),) for side in ANCHOR_SIDES)
        self.proposals = RegionProposalNetwork(
            AnchorGenerator(sides, (ASPECT_RATIOS,) * len(sides)),
            RPNHead(channels, len(ASPECT_RATIOS)),
            ANCHOR_IOU,
            NO_ANCHOR_IOU,
            counts.num_anchors,
            0.5,
            {"training": counts.num_proposals, "testing": counts.num_test_proposals},
            {"training": counts.num_proposals, "testing": counts.num_test_proposals},
            NMS_IOU,
        )
        self.coder = BoxCoder(REGION_WEIGHTS)
        names = [str(level) for level in range(NUM_LEVELS)]
        self.box_pool = MultiScaleRoIAlign(names, BOX_POOL, sampling_ratio=2)
        self.mask_pool = MultiScaleRoIAlign(names, MASK_POOL, sampling_ratio=2)
        self.box_head = TwoMLPHead(channels * BOX_POOL**2, counts.hidden)
        self.predictor = FastRCNNPredictor(counts.hidden, num_categories + 1)
        self.pose = PoseBinHead(counts.hidden, num_categories, config.pose)
        self.mask_head = nn.Sequential(
            MaskRCNNHeads(channels, (counts.mask_channels,) * counts.mask_layers, 1),
            MaskRCNNPredictor(counts.mask_channels, counts.mask_channels, num_categories),
        )

    def propose(self, image: Float[Tensor, "B 3 H W"]) -> Proposals:
        """Boxes that may hold an object; no gradient passes through them."""
        found, _ = self.trunk(image)
        # Anchors and pooled regions take the maps' type, and bfloat16 rounds a coordinate by whole pixels.
        levels = OrderedDict((name, at_least_float32(one)) for name, one in found.items())
        maps = list(levels.values())
        sizes = self._sizes(len(image))
        scores, offsets = self.proposals.head(maps)
        anchors = self.proposals.anchor_generator(ImageList(image, sizes), maps)
        per_level = [score[0].numel() for score in scores]
        flat_scores, flat_offsets = concat_box_prediction_layers(scores, offsets)
        objectness = at_least_float32(flat_scores).view(len(image), -1)
        deltas = at_least_float32(flat_offsets).view(len(image), -1, 4)
        anchors = [one.to(deltas) for one in anchors]
        decoded = self.proposals.box_coder.decode(deltas.detach().flatten(0, 1), anchors)
        boxes, _ = self.proposals.filter_proposals(
            decoded.view(len(image), -1, 4), objectness.detach(), sizes, per_level
        )
        return Proposals(levels, anchors[0], objectness, deltas, boxes)

    def describe(self, levels: OrderedDict[str, Tensor], boxes: list[Tensor]) -> RegionOutputs:
        """Class, box and feature of each image's regions, all images' in one list."""
        feature = self.box_head(self._pooled(self.box_pool, levels, boxes))
        category, deltas = self.predictor(feature)
        deltas = at_least_float32(deltas).unflatten(1, (self.num_categories + 1, 4))
        return RegionOutputs(at_least_float32(category), deltas, feature)

    def masks(
        self, levels: OrderedDict[str, Tensor], boxes: list[Tensor], category: Int[Tensor, "R"]
    ) -> Float[Tensor, "R M M"]:
        """Logits of the whole outline of an object of that category in each region."""
        logits = at_least_float32(self.mask_head(self._pooled(self.mask_pool, levels, boxes)))
        return logits[torch.arange(len(category), device=category.device), category]

    def pose_of(self, feature: Float[Tensor, "R D"], category: Int[Tensor, "R"]) -> PoseBins:
        """The pose's bins of objects of these categories."""
        bins: PoseBins = self.pose(feature, category)
        return bins

    def _pooled(self, pool: MultiScaleRoIAlign, levels: OrderedDict[str, Tensor], boxes: list[Tensor]) -> Tensor:
        pooled: Tensor = pool(levels, [one.to(levels["0"]) for one in boxes], self._sizes(len(boxes)))
        return pooled

    def _sizes(self, count: int) -> list[tuple[int, int]]:
        return [(self.image_px, self.image_px)] * count
