"""The two kinds of data set, shapes and image collections: all that scoring and drawing them do differently."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import ConfigError
from raylift.core.types import Mesh, Reconstruction, SampleRequest
from raylift.data.dataset import ShardedDataset
from raylift.data.manifest import DataKind
from raylift.evaluation.image_scoring import ImageScorer
from raylift.evaluation.image_validation import ImageValidation
from raylift.evaluation.scorer import Scorer
from raylift.evaluation.shape_scoring import ShapeScorer
from raylift.evaluation.shape_validation import ShapeValidation
from raylift.evaluation.strips import Picture, image_input, image_strip, shape_input, shape_strip
from raylift.evaluation.validation import Validation


class EvaluationKind(ABC):
    """How one kind of data set is evaluated.

    Attributes:
        validated: the metrics that training watches, without ``val/``; the first is the usual ``best_metric``.
    """

    validated: ClassVar[tuple[str, ...]]

    @abstractmethod
    def scorer(
        self,
        dataset: ShardedDataset,
        wanted: SampleRequest,
        config: EvaluationConfig,
        data: DataConfig,
        seed: int,
        split: str,
    ) -> Scorer:
        """Of the full evaluation of a split, for a model that wants such samples."""

    @abstractmethod
    def validation(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> Validation:
        """The quick scores that training watches, of a model that wants such samples."""

    @abstractmethod
    def strip(
        self, dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int
    ) -> Picture:
        """A sample's strip of pictures: the input first, then the reconstruction as the input sees it, then others."""

    @abstractmethod
    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Picture:
        """The input as it is stored, RGBA, cropped as the model sees it."""

    def check_best_metric(self, name: str) -> None:
        """Refuse to choose checkpoints by what is never measured.

        Raises:
            ConfigError: it is not among the validation's.
        """
        known = [f"val/{metric}" for metric in self.validated]
        if name not in known:
            raise ConfigError(
                f"schedule.best_metric is {name}, which validation on this data set does not measure",
                f"set schedule.best_metric to one of {', '.join(known)}",
            )


class ShapesEvaluation(EvaluationKind):
    """Against true shapes."""

    validated = ("iou", "iou_median", "thickness", "thickness_median")

    def scorer(
        self,
        dataset: ShardedDataset,
        wanted: SampleRequest,
        config: EvaluationConfig,
        data: DataConfig,
        seed: int,
        split: str,
    ) -> Scorer:
        return ShapeScorer(dataset, wanted, config, data, seed, split)

    def validation(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> Validation:
        return ShapeValidation(dataset, wanted, config, data)

    def strip(
        self, dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int
    ) -> Picture:
        return shape_strip(dataset, found.id, mesh, image_px)

    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Picture:
        return shape_input(dataset, sample)


class ImagesEvaluation(EvaluationKind):
    """Against the images themselves, and what else is known of them."""

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
    ) -> Picture:
        return image_strip(dataset, wanted, found, mesh, image_px)

    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Picture:
        return image_input(dataset, wanted, sample)


KINDS: dict[DataKind, EvaluationKind] = {"shapes": ShapesEvaluation(), "images": ImagesEvaluation()}


def evaluation_of(dataset: ShardedDataset) -> EvaluationKind:
    """How a prepared data set is evaluated."""
    return KINDS[dataset.manifest.kind]
