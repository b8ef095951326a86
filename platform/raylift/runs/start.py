"""Runs that start from another run's weights: finding its checkpoint, refusing what does not fit, loading it."""

from __future__ import annotations

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.model import Model
from raylift.models.catalogue import MODELS, build_model
from raylift.training.checkpoint import Checkpoint, CheckpointStore, find_checkpoints, open_checkpoint


def starting_checkpoint(recipe: Recipe) -> tuple[Checkpoint, str]:
    """The checkpoint of ``recipe.start_from``, read and verified, and its path.

    Raises:
        CheckpointError: it is missing or damaged, or its run is not finished.
        ConfigError: it belongs to another model.
    """
    path = recipe.start_from
    if path.endswith(".pt"):
        checkpoint, where = open_checkpoint(path), path
    else:
        store = CheckpointStore(find_checkpoints(path))
        entry = store.last()
        if entry is None:
            raise CheckpointError(f"start_from: {path} has no checkpoint", "use a run's folder or a checkpoint's path")
        where = store.path(entry)
        if entry.step < entry.num_steps:
            raise CheckpointError(
                f"start_from: the run in {path} stopped at step {entry.step} of {entry.num_steps}",
                f"finish it with its own command, or start from that step: start_from={where}",
            )
        checkpoint = store.read(entry)
    model = str(checkpoint.entry.recipe.get("name", "")).partition("/")[0]
    if model not in (recipe.model_name, *MODELS[recipe.model_name].starts_from):
        raise ConfigError(
            f"{where} belongs to the model {model!r}, this recipe to {recipe.model_name!r}",
            "start from a run of the same model",
        )
    return checkpoint, where


def init_from_run(model: Model, recipe: Recipe) -> None:
    """Initialise a fresh model from the checkpoint of ``recipe.start_from``.

    Raises:
        CheckpointError: it does not fit.
    """
    checkpoint, where = starting_checkpoint(recipe)
    model.load_pretrained(checkpoint.weights, where)


def check_start(recipe: Recipe, info: DatasetInfo) -> None:
    """Refuse before the start what every worker would refuse."""
    init_from_run(build_model(recipe, info), recipe)
