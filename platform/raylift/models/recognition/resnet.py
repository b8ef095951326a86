"""The multi-head ResNet: class, binned pose, amodal and visible outline, from the whole image."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core.collectives import share_of_mean
from raylift.core.model import Recognition, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.geometry.framing import box_of_mask
from raylift.models.recognition.config import RecognitionConfig
from raylift.models.recognition.model import MultiTaskRecogniser, believed
from raylift.models.recognition.network import MultiHeadResNet


class ResNetRecogniser(MultiTaskRecogniser):
    """One ResNet with three heads."""

    network: MultiHeadResNet

    @staticmethod
    def build_network(config: RecognitionConfig, num_categories: int) -> MultiHeadResNet:
        return MultiHeadResNet(config, num_categories)

    def terms(self, batch: Batch, angles: Float[Tensor, "B 3"], step_info: StepInfo) -> list[Term]:
        """Class over all images, pose over those of a category, outlines over all pixels."""
        category, weights = batch["category"], self.config.weights
        outputs = self.network(batch["image"])
        entropy = functional.cross_entropy(outputs.category, self.target_of(category), reduction="none")
        bins = self.network.pose_of(outputs, category.clamp(min=0))
        outlines = torch.cat([batch["amodal"], batch["mask"]], dim=1).to(outputs.masks)
        outlines = functional.interpolate(outlines, outputs.masks.shape[-2:], mode="area").clamp(0, 1)
        off = functional.binary_cross_entropy_with_logits(outputs.masks, outlines, reduction="none")
        return [
            Term("category", share_of_mean(entropy), weights.category),
            *self.pose_terms(bins, angles, category >= 0),
            Term("amodal", share_of_mean(off[:, 0]), weights.amodal),
            Term("visible", share_of_mean(off[:, 1]), weights.visible),
        ]

    @torch.no_grad()
    def recognise(self, batch: Batch, category: Int[Tensor, "B"] | None = None) -> Recognition:
        """Class, pose and outlines; the camera's distance and offset follow from the box of the amodal outline.

        ``log_probs`` are the network's own also where the category is told. The occluder is what is amodal and not
        visible.
        """
        image = batch["image"]
        outputs = self.network(image)
        log_probs = outputs.category.log_softmax(dim=1)
        chosen = believed(log_probs, category)
        masks = functional.interpolate(outputs.masks, image.shape[-2:], mode="bilinear", align_corners=False).sigmoid()
        amodal, visible = masks[:, :1], masks[:, 1:]
        rotation = self.network.pose_of(outputs, chosen).rotations()
        camera = self.camera_prior.camera(rotation, box_of_mask(amodal[:, 0]), chosen)
        return Recognition(log_probs, camera, amodal, visible, (amodal - visible).clamp(min=0))
