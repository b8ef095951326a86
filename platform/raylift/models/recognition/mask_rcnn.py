"""The multi-task Mask R-CNN of DMNT's appendix A.4: L = L_cls + L_box + L_mask + L_pose (equation 6), end to end.

Its masks are the projections of the true shapes, so it predicts whole outlines, behind occluders too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import box_iou, clip_boxes_to_image, roi_align

from raylift.core.collectives import global_count, share_of_mean
from raylift.core.device_copies import constant
from raylift.core.model import Recognition, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.geometry.framing import Box, edges_of_mask
from raylift.models.recognition.config import RecognitionConfig
from raylift.models.recognition.detector import ANCHOR_IOU, NO_ANCHOR_IOU, Detector, Proposals
from raylift.models.recognition.model import MultiTaskRecogniser, believed
from raylift.models.recognition.sampling import DrawKey, drawn_balanced

BETA = 1 / 9
"""Where the smooth L1 distance of boxes becomes linear (torchvision)."""
REGION_IOU = 0.5
"""Least overlap of a region that shows the object."""
POSITIVE_ANCHORS, POSITIVE_REGIONS = 0.5, 0.25
"""Largest fractions of drawn anchors and regions that show the object."""
LEAST_SIDE_PX = 1.0


@dataclass(frozen=True)
class Truth:
    """The object of each image.

    Attributes:
        boxes: of its whole outline: left, top, right, bottom, pixels.
        target: index of its class; the last one is "none of them".
        known: whether it is of a category: others are background.
    """

    boxes: Float[Tensor, "B 4"]
    target: Int[Tensor, "B"]
    known: Bool[Tensor, "B"]


@dataclass(frozen=True)
class Regions:
    """Regions that train the heads, all images' in one list.

    Attributes:
        boxes: of each image, pixels.
        image: index of each region's image.
        shows: whether it shows the object.
    """

    boxes: list[Tensor]
    image: Int[Tensor, "R"]
    shows: Bool[Tensor, "R"]


class MaskRCNNRecogniser(MultiTaskRecogniser):
    """Mask R-CNN with a pose head, for images of one object each."""

    network: Detector

    @staticmethod
    def build_network(config: RecognitionConfig, num_categories: int) -> Detector:
        return Detector(config, num_categories)

    def terms(self, batch: Batch, angles: Float[Tensor, "B 3"], step_info: StepInfo) -> list[Term]:
        """Equation 6, and Faster R-CNN's two terms of the proposals, without which no region would be proposed.

        Each is torchvision's, but the mean over all ranks' anchors, regions or pixels; draws are keyed by sample.
        """
        truth = self.truth_of(batch)
        key = DrawKey(step_info.seed, step_info.step, batch.keys)
        found = self.network.propose(batch["image"])
        regions = self.drawn_regions(found.boxes, truth, key)
        outputs = self.network.describe(found.levels, regions.boxes)
        image, shows = regions.image, regions.shows
        target = torch.where(shows, truth.target[image], len(self.categories))
        entropy = functional.cross_entropy(outputs.category, target, reduction="none")
        weights = self.config.weights
        category = truth.target.clamp(max=len(self.categories) - 1)
        return [
            Term("category", share_of_mean(entropy), weights.category),
            Term("box", self._box_share(outputs.deltas, regions, truth), weights.box),
            Term("amodal", self._mask_share(batch, found, regions, category), weights.amodal),
            *self.pose_terms(self.network.pose_of(outputs.feature, category[image]), angles[image], shows),
            *self.proposal_terms(found, truth, key),
        ]

    def truth_of(self, batch: Batch) -> Truth:
        """Boxes around the whole outlines, and classes."""
        low, high = edges_of_mask(batch["amodal"][:, 0])
        boxes = (torch.cat([low, high], dim=1) + 1) * (self.config.image_px / 2)
        return Truth(boxes, self.target_of(batch["category"]), batch["category"] >= 0)

    def drawn_regions(self, proposals: list[Tensor], truth: Truth, key: DrawKey) -> Regions:
        """Regions of each image for the heads: proposals and the true box, at most a quarter of them on the object."""
        boxes, shows = [], []
        for index, proposed in enumerate(proposals):
            known = truth.known[index]
            candidates = torch.cat([proposed, truth.boxes[index : index + 1].to(proposed)])
            # A true box of no category is background: it is proposed like any other.
            on_object = known & (box_iou(candidates, candidates[-1:])[:, 0] >= REGION_IOU)
            own = DrawKey(key.seed, key.step, key.keys[index : index + 1])
            count = self.config.regions.num_regions
            picked = drawn_balanced(on_object[None], ~on_object[None], count, POSITIVE_REGIONS, own, "regions")[0]
            boxes.append(candidates[picked])
            shows.append(on_object[picked])
        counts = torch.tensor([len(one) for one in boxes], device=truth.boxes.device)
        image = torch.arange(len(boxes), device=counts.device).repeat_interleave(counts)
        return Regions(boxes, image, torch.cat(shows))

    def proposal_terms(self, found: Proposals, truth: Truth, key: DrawKey) -> list[Term]:
        """Faster R-CNN's: whether an anchor is on the object, and where the object's box is from there."""
        boxes = truth.boxes.to(found.anchors)
        overlap = box_iou(boxes, found.anchors)
        # The best anchors of an object count even if their overlap is low.
        best = (overlap == overlap.amax(dim=1, keepdim=True)) & (overlap > 0)
        known = truth.known[:, None]
        positive = known & ((overlap >= ANCHOR_IOU) | best)
        negative = ~positive & (~known | (overlap < NO_ANCHOR_IOU))
        count = self.config.regions.num_anchors
        picked = drawn_balanced(positive, negative, count, POSITIVE_ANCHORS, key, "anchors")
        wanted = positive.to(found.objectness)
        entropy = functional.binary_cross_entropy_with_logits(found.objectness, wanted, reduction="none")
        image, anchor = torch.where(picked & positive)
        target = self.network.proposals.box_coder.encode_single(boxes[image], found.anchors[anchor])
        distance = functional.smooth_l1_loss(found.deltas[image, anchor], target, beta=BETA, reduction="sum")
        weights = self.config.weights
        return [
            Term("objectness", share_of_mean(entropy[picked]), weights.objectness),
            Term("proposal", distance / global_count(picked.sum(), distance), weights.proposal),
        ]

    def _box_share(self, deltas: Float[Tensor, "R C+1 4"], regions: Regions, truth: Truth) -> Float[Tensor, ""]:
        image = regions.image[regions.shows]
        boxes = torch.cat(regions.boxes)[regions.shows]
        target = self.network.coder.encode_single(truth.boxes[image].to(boxes), boxes)
        own = deltas[regions.shows, truth.target[image]]
        distance = functional.smooth_l1_loss(own, target.to(own), beta=BETA, reduction="sum")
        return distance / global_count(len(regions.image), distance)

    def _mask_share(
        self, batch: Batch, found: Proposals, regions: Regions, category: Int[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        image = regions.image[regions.shows]
        shows = regions.shows.split([len(one) for one in regions.boxes])
        boxes = [one[which] for one, which in zip(regions.boxes, shows, strict=True)]
        logits = self.network.masks(found.levels, boxes, category[image])
        corners = torch.cat(boxes).to(batch["amodal"])
        places = torch.cat([image[:, None].to(corners), corners], dim=1)
        target = roi_align(batch["amodal"], places, logits.shape[-2:])[:, 0].clamp(0, 1)
        return share_of_mean(functional.binary_cross_entropy_with_logits(logits, target.to(logits), reduction="none"))

    @torch.no_grad()
    def recognise(self, batch: Batch, category: Int[Tensor, "B"] | None = None) -> Recognition:
        """The one region of each image that is most probably of a category, or of the told one.

        ``log_probs`` are that region's, where the background is "none of them". Distance and offset of the camera
        follow from its box. The model has whole outlines only: ``visible`` is the same, and ``occluder`` is 0.
        """
        found = self.network.propose(batch["image"])
        log_probs, boxes, chosen = self._best_regions(found, category)
        split = list(boxes[:, None].unbind())
        rotation = self.network.pose_of(self.network.describe(found.levels, split).feature, chosen).rotations()
        masks = self.network.masks(found.levels, split, chosen).sigmoid()
        side = self.config.image_px
        amodal = torch.cat(
            [paste_masks_in_image(m[None, None], b, (side, side)) for m, b in zip(masks, split, strict=True)]
        )
        low, high = boxes[:, :2] * (2 / side) - 1, boxes[:, 2:] * (2 / side) - 1
        box = Box((low + high) / 2, (high - low).amax(dim=1) / 2)
        camera = self.camera_prior.camera(rotation, box, chosen)
        return Recognition(log_probs, camera, amodal, amodal, torch.zeros_like(amodal))

    def _best_regions(
        self, found: Proposals, told: Int[Tensor, "B"] | None
    ) -> tuple[Float[Tensor, "B C+1"], Float[Tensor, "B 4"], Int[Tensor, "B"]]:
        """Log-probabilities, refined box and category of each image's best region; the whole image is a proposal."""
        side = float(self.config.image_px)
        whole = constant([[0.0, 0.0, side, side]], found.anchors)
        proposed = [torch.cat([one, whole]) for one in found.boxes]
        outputs = self.network.describe(found.levels, proposed)
        log_probs = outputs.category.log_softmax(dim=1)
        counts = [len(one) for one in proposed]
        best = []
        for index, scores in enumerate(log_probs[:, :-1].split(counts)):
            one = None if told is None or int(told[index]) < 0 else int(told[index])
            best.append(int((scores.amax(dim=1) if one is None else scores[:, one]).argmax()) + sum(counts[:index]))
        chosen = believed(log_probs[best], told)
        picked = torch.cat(proposed)[best]
        rows = torch.arange(len(best), device=chosen.device)
        refined = self.network.coder.decode_single(outputs.deltas[best][rows, chosen], picked)
        refined = clip_boxes_to_image(refined, (self.config.image_px, self.config.image_px))
        small = (refined[:, 2:] - refined[:, :2]).amin(dim=1, keepdim=True) < LEAST_SIDE_PX
        return log_probs[best], torch.where(small, picked, refined), chosen
