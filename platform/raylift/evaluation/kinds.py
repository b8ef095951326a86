"""The evaluation of each kind of data set."""

from __future__ import annotations

from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import DataKind
from raylift.evaluation.images.kind import ImagesEvaluation
from raylift.evaluation.kind import EvaluationKind
from raylift.evaluation.shapes.kind import ShapesEvaluation

KINDS: dict[DataKind, EvaluationKind] = {"shapes": ShapesEvaluation(), "images": ImagesEvaluation()}


def evaluation_of(dataset: ShardedDataset) -> EvaluationKind:
    """The evaluation of a prepared data set."""
    return KINDS[dataset.manifest.kind]
