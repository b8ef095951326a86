"""Evaluation of data sets of shapes."""

from __future__ import annotations

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.types import Mesh, Reconstruction, SampleRequest
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.kind import EvaluationKind
from raylift.evaluation.scorer import Scorer
from raylift.evaluation.shapes.scorer import ShapeScorer
from raylift.evaluation.shapes.strip import shape_input, shape_strip
from raylift.evaluation.shapes.validation import ShapeValidation
from raylift.evaluation.strips import Strip
from raylift.evaluation.validation import Validation


class ShapesEvaluation(EvaluationKind):
    """Evaluation against true shapes."""

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
    ) -> Strip:
        return shape_strip(dataset, found.id, mesh, image_px)

    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Strip:
        return shape_input(dataset, sample)
