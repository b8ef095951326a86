"""A trained model of any kind, opened from its checkpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import torch

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError
from raylift.core.model import Model
from raylift.export.model_folder import read_model_folder
from raylift.models import catalogue
from raylift.training.checkpoint import (
    Checkpoint,
    CheckpointEntry,
    CheckpointStore,
    find_checkpoints,
    load_state,
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
        info: facts about the data set that the model was built for.
        level: iso-level of fields that an exported model carries; None for a checkpoint, whose run keeps it.
        card: model card of an exported model; "" for a checkpoint.
    """

    model: Model
    recipe: Recipe
    where: str
    device: torch.device
    info: DatasetInfo = field(default_factory=DatasetInfo)
    level: float | None = None
    card: str = ""

    @staticmethod
    def of_checkpoint(checkpoint: Checkpoint, where: str, device: str | None = None) -> TrainedModel:
        """Build the model of a checkpoint's recipe and load its (averaged) weights.

        Raises:
            CheckpointError: weights that do not fit.
            ConfigError: a recipe that this version does not know.
        """
        recipe = catalogue.from_json(json.dumps(checkpoint.entry.recipe))
        info = DatasetInfo.from_dict(checkpoint.entry.info)
        model = catalogue.build_model(recipe, info)
        checkpoint.load_weights(model)
        target = _device(device)
        return TrainedModel(model.to(target).eval(), recipe, where, target, info)

    @staticmethod
    def of_folder(folder: str | Path, device: str | None = None) -> TrainedModel:
        """From an exported model (``export.model_folder``), local or s3://.

        Raises:
            CheckpointError: weights that do not fit.
            ConfigError: a recipe that this version does not know.
            DataError: files that are missing or damaged.
        """
        files = read_model_folder(folder)
        recipe, info = catalogue.from_json(files.recipe), DatasetInfo.from_dict(files.info)
        model = catalogue.build_model(recipe, info)
        load_state(model, files.weights, str(folder))
        target = _device(device)
        return TrainedModel(model.to(target).eval(), recipe, str(folder), target, info, files.level, files.card)

    @staticmethod
    def open(path: str | Path, device: str | None = None) -> TrainedModel:
        """From ``.../step-NNNNNNNN.pt`` or the folder of an exported model, local or s3://."""
        if not str(path).endswith(".pt"):
            return TrainedModel.of_folder(path, device)
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


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


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
