"""Evaluation of image collections."""

from __future__ import annotations

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.types import Mesh, Reconstruction, SampleRequest
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.images.scorer import ImageScorer
from raylift.evaluation.images.strip import image_input, image_strip
from raylift.evaluation.images.validation import ImageValidation
from raylift.evaluation.kind import EvaluationKind
from raylift.evaluation.scorer import Scorer
from raylift.evaluation.strips import Strip
from raylift.evaluation.validation import Validation


class ImagesEvaluation(EvaluationKind):
    """Evaluation against the images themselves and, where known, their cameras, keypoints and shapes."""

    validated = (
        "mask_iou",
        "mask_iou_median",
        "ssim",
        "ssim_median",
        "thickness",
        "thickness_median",
        "azimuth_spread_deg",
        "within_30",
        "unseen_iou",
        "unseen_iou_median",
        "canonical_iou",
        "canonical_iou_median",
        "solid_iou",
        "solid_iou_median",
    )

    def scorer(
        self,
        dataset: ShardedDataset,
        wanted: SampleRequest,
        config: EvaluationConfig,
        data: DataConfig,
        seed: int,
        split: str,
    ) -> Scorer:
        return ImageScorer(dataset, wanted, config, data, seed)

    def validation(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> Validation:
        return ImageValidation(dataset, wanted, config, data, seed)

    def strip(
        self, dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int
    ) -> Strip:
        return image_strip(dataset, wanted, found, mesh, image_px)

    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Strip:
        return image_input(dataset, wanted, sample)
