"""Evaluates a trained model of any kind that can be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raylift.config.recipe import Recipe
from raylift.core.model import ObjectRecogniser, ReconstructionModel
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.evaluator import Progress
from raylift.runs.evaluate import Evaluated, evaluate_run
from raylift.runs.evaluate_recognition import evaluate_recogniser
from raylift.runs.reconstruct import Reconstructor
from raylift.runs.trained_model import TrainedModel


def evaluate_trained(
    trained: TrainedModel,
    recipe: Recipe,
    dataset: ShardedDataset,
    split: str,
    folder: Path,
    panels_of: Sequence[str] = (),
    progress: Progress | None = None,
) -> Evaluated:
    """Score a recogniser of objects on images by what it recognises, any other model by its reconstructions.

    A recogniser that also reconstructs is scored by its reconstructions on a data set of shapes.

    Args:
        recipe: the model's recipe, with the evaluation settings to use.
        split: "train", "val" or "test".
        folder: folder of the written files.
        panels_of: ids of objects to draw; by default the first ``evaluation.panels`` of the split.

    Raises:
        ConfigError: the model can be evaluated in neither way, or an object is not in the split.
        DataError: no objects of that split, or a damaged shard.
    """
    model = trained.model
    on_images = dataset.manifest.kind == "images"
    if isinstance(model, ObjectRecogniser) and (on_images or not isinstance(model, ReconstructionModel)):
        return evaluate_recogniser(model, recipe, dataset, split, folder, panels_of, progress)
    return evaluate_run(Reconstructor.of_trained(trained), recipe, dataset, split, folder, panels_of, progress)
