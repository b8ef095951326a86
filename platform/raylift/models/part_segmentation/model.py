"""The part segmentation model: its inputs, its losses, its part maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.collectives import global_count, share_of_mean, world_size
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, PartSegmenter, Phase, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch, CropRequest, SampleRequest
from raylift.geometry.thin_plate import ThinPlate, warp_maps
from raylift.losses import part_segmentation as scops
from raylift.models.part_segmentation.config import PartSegmentationConfig
from raylift.models.part_segmentation.motion import draw_warps, move_image, move_responses, recolor
from raylift.models.part_segmentation.network import PartNetwork
from raylift.networks.feature_maps import FeatureMaps

LEAST_SHARE = 0.05
"""Fraction of the object above which a part counts as used in an image."""


@dataclass(frozen=True)
class ViewPair:
    """An image and its moved version, with the network's responses.

    Attributes:
        responses, moved: responses R and R'.
        warp: source of each pixel of the moved image.
        mask: the object's coverage at the size of R.
    """

    responses: Float[Tensor, "B C h w"]
    moved: Float[Tensor, "B C h w"]
    warp: ThinPlate
    mask: Float[Tensor, "B 1 h w"]


class PartSegmentationModel(PartSegmenter):
    """SCOPS: parts that are compact, move with the image, and look alike in all images (see README.md here).

    Args:
        config: the recipe's model config.
        seed: the run's seed; the initial weights depend on it alone.
    """

    def __init__(self, config: PartSegmentationConfig, seed: int) -> None:
        super().__init__()
        self.config = config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stable_hash(seed, "part_segmentation", "weights"))
            self.network = PartNetwork(config)
        self._extractor: FeatureMaps | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One group, one phase."""
        return (Phase("fit", ("model",)),)

    @property
    def request(self) -> SampleRequest:
        """A crop of the object with its silhouette."""
        config = self.config
        return SampleRequest(config.image_px, crop=CropRequest(config.padding, config.jitter, config.mirror))

    @property
    def num_parts(self) -> int:
        """K, without the background."""
        return self.config.num_parts

    @property
    def extractor(self) -> FeatureMaps:
        """The feature extractor, loaded on first use: segmenting alone needs no pretrained weights.

        Raises:
            WeightsError: missing weights; the message says which file to put where.
        """
        if self._extractor is None:
            self._extractor = FeatureMaps(self.config.extractor)
        return self._extractor

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        """SCOPS' terms on this rank's part of the global batch; each but orthonormality is a mean over samples."""
        looks = self.augmented_pair(batch, step_info)
        parts, basis = looks.responses[:, 1:], self.network.basis
        centers, moved_centers = scops.part_centers(parts), scops.part_centers(looks.moved[:, 1:])
        unexplained = scops.semantic_consistency_error(parts, self.features(batch, parts), basis, looks.mask)
        weights = self.config.weights
        terms = [
            Term("concentration", share_of_mean(scops.concentration_error(parts)), weights.concentration),
            Term(
                "equivariance",
                share_of_mean(scops.equivariance_error(move_responses(looks.responses, looks.warp), looks.moved)),
                weights.equivariance,
            ),
            # The warp maps the moved image to the image, so centres are compared in the image's frame.
            Term(
                "centers",
                share_of_mean(scops.center_equivariance_error(looks.warp(moved_centers), centers)),
                weights.centers,
            ),
            Term("semantic", unexplained.sum() / global_count(looks.mask.sum(), unexplained), weights.semantic),
            Term("orthonormality", scops.orthonormality_error(basis).sum() / world_size(), weights.orthonormality),
            Term("foreground", share_of_mean(scops.foreground_error(looks.responses, looks.mask)), weights.foreground),
            Term("balance", share_of_mean(scops.imbalance_error(parts, looks.mask)), weights.balance),
        ]
        return LossOutput(terms)

    def augmented_pair(self, batch: Batch, step_info: StepInfo) -> ViewPair:
        """Segment the images and the moved images.

        Raises:
            DataError: the batch lacks images or masks.
        """
        image, motion = batch["image"], self.config.motion
        warp = draw_warps(motion, step_info.seed, step_info.step, batch.keys, image)
        moved = recolor(move_image(image, warp), motion, step_info.seed, step_info.step, batch.keys)
        responses, moved_responses = self.network(torch.cat([image, moved])).chunk(2)
        mask = functional.interpolate(batch["mask"], responses.shape[-2:], mode="area")
        return ViewPair(responses, moved_responses, warp, mask)

    def features(self, batch: Batch, parts: Float[Tensor, "B K h w"]) -> Float[Tensor, "B D h w"]:
        """V: appearance feature of each cell of ``parts``, of unit length."""
        return functional.normalize(self.extractor(batch["image"], parts.shape[-1]), dim=1)

    @torch.no_grad()
    def segment(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K H W"]:
        """The probability of each part at each pixel **of the object**: R without its background, adding up to 1."""
        parts = self.network(image)[:, 1:]
        parts = functional.interpolate(parts, image.shape[-2:], mode="bilinear", align_corners=False)
        return parts / parts.sum(dim=1, keepdim=True).clamp(min=scops.LEAST_PROBABILITY)

    @torch.no_grad()
    def scores(self, batch: Batch) -> dict[str, Tensor]:
        """Scores of the parts of held-out samples.

        ``explained``: fraction of the features' energy on the object that the basis explains by the parts.
        ``agreement``: fraction of the object whose part stays the same when the image is moved and recoloured.
        ``used_parts``: number of parts that cover 5 % of the object or more; ``agreement`` is easy with one.
        """
        looks = self.augmented_pair(batch, StepInfo(step=0, num_steps=1))
        parts, mask = looks.responses[:, 1:], looks.mask
        area = mask.sum(dim=(1, 2, 3)).clamp(min=1e-6)
        unexplained = scops.semantic_consistency_error(parts, self.features(batch, parts), self.network.basis, mask)
        labels = functional.one_hot(parts.argmax(dim=1), parts.shape[1]).movedim(-1, 1).to(parts)
        shares = (labels * mask).sum(dim=(2, 3)) / area[:, None]
        moved_mask = warp_maps(mask, looks.warp)[:, 0]
        same = warp_maps(parts, looks.warp).argmax(dim=1) == looks.moved[:, 1:].argmax(dim=1)
        moved_area = moved_mask.sum(dim=(1, 2)).clamp(min=1e-6)
        return {
            "explained": 1 - unexplained.sum(dim=(1, 2)) / area,
            "agreement": (same * moved_mask).sum(dim=(1, 2)) / moved_area,
            "used_parts": (shares >= LEAST_SHARE).sum(dim=1).to(parts),
        }
