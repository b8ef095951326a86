"""How each kind of data set is evaluated."""

from __future__ import annotations

from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import DataKind
from raylift.evaluation.images.kind import ImagesEvaluation
from raylift.evaluation.kind import EvaluationKind
from raylift.evaluation.shapes.kind import ShapesEvaluation

KINDS: dict[DataKind, EvaluationKind] = {"shapes": ShapesEvaluation(), "images": ImagesEvaluation()}


def evaluation_of(dataset: ShardedDataset) -> EvaluationKind:
    """How a prepared data set is evaluated."""
    return KINDS[dataset.manifest.kind]
