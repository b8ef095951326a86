"""A trained model of any kind, opened from its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError
from raylift.core.model import Model
from raylift.models import catalogue
from raylift.training.checkpoint import (
    Checkpoint,
    CheckpointEntry,
    CheckpointStore,
    find_checkpoints,
    open_checkpoint,
)


@dataclass(frozen=True)
class TrainedModel:
    """A model in eval mode, with its recipe.

    Attributes:
        model: on ``device``.
        recipe: recipe of the checkpoint.
        where: path of the checkpoint.
        device: "cuda" if available.
    """

    model: Model
    recipe: Recipe
    where: str
    device: torch.device

    @staticmethod
    def of_checkpoint(checkpoint: Checkpoint, where: str, device: str | None = None) -> TrainedModel:
        """Build the model of a checkpoint's recipe and load its (averaged) weights.

        Raises:
            CheckpointError: weights that do not fit.
            ConfigError: a recipe that this version does not know.
        """
        recipe = catalogue.from_json(json.dumps(checkpoint.entry.recipe))
        model = catalogue.build_model(recipe, DatasetInfo.from_dict(checkpoint.entry.info))
        checkpoint.load_weights(model)
        target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return TrainedModel(model.to(target).eval(), recipe, where, target)

    @staticmethod
    def open(path: str | Path, device: str | None = None) -> TrainedModel:
        """From ``.../step-NNNNNNNN.pt``, local or s3://."""
        return TrainedModel.of_checkpoint(open_checkpoint(path), str(path), device)

    @staticmethod
    def of_run(run: str | Path, device: str | None = None) -> TrainedModel:
        """Load a run's best checkpoint, or the last if none was evaluated.

        Raises:
            CheckpointError: the run has no checkpoint.
        """
        store = CheckpointStore(find_checkpoints(run))
        entry = best_entry(store)
        return TrainedModel.of_checkpoint(store.read(entry), store.path(entry), device)


def best_entry(store: CheckpointStore) -> CheckpointEntry:
    """The best checkpoint by its own recipe's metric, or the last if none was evaluated.

    Raises:
        CheckpointError: there is none.
    """
    entries = store.entries()
    if not entries:
        raise CheckpointError(f"{store.folder.uri} has no checkpoint", "use a run's folder, or --checkpoint PATH")
    schedule = catalogue.from_json(json.dumps(entries[-1].recipe)).schedule
    store.best_metric, store.best_is = schedule.best_metric, schedule.best_is
    return store.best() or entries[-1]
