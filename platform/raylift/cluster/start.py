"""Runs that start from another run's weights: finding its checkpoint, refusing what does not fit, taking it over."""

from __future__ import annotations

from raylift.core.data_facts import DataFacts
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.family import Learner
from raylift.recipes.catalogue import FAMILIES, build_family
from raylift.recipes.recipe import Recipe
from raylift.training.checkpoint import Checkpoint, CheckpointStore, find_checkpoints, open_checkpoint


def starting_checkpoint(recipe: Recipe) -> tuple[Checkpoint, str]:
    """The checkpoint of ``recipe.start_from``, read and verified, and its path.

    Raises:
        CheckpointError: there is none, it is damaged, or the run it is in is not finished.
        ConfigError: it is of another family.
    """
    path = recipe.start_from
    if path.endswith(".pt"):
        checkpoint, where = open_checkpoint(path), path
    else:
        store = CheckpointStore(find_checkpoints(path))
        entry = store.last()
        if entry is None:
            raise CheckpointError(
                f"start_from: {path} has no checkpoint", "give a run's folder, or a checkpoint's path"
            )
        where = store.path(entry)
        if entry.step < entry.num_steps:
            raise CheckpointError(
                f"start_from: the run in {path} stopped at step {entry.step} of {entry.num_steps}",
                f"let it finish by its own command, or start from that step: start_from={where}",
            )
        checkpoint = store.read(entry)
    family = str(checkpoint.entry.recipe.get("name", "")).partition("/")[0]
    if family not in (recipe.family_name, *FAMILIES[recipe.family_name].starts_from):
        raise ConfigError(
            f"{where} is of the family {family!r}, this recipe of {recipe.family_name!r}", "start from its own family"
        )
    return checkpoint, where


def take_over(family: Learner, recipe: Recipe) -> None:
    """Let a fresh family start where ``recipe.start_from`` ended.

    Raises:
        CheckpointError: it does not fit.
    """
    checkpoint, where = starting_checkpoint(recipe)
    family.adopt(checkpoint.weights, where)


def check_start(recipe: Recipe, facts: DataFacts) -> None:
    """Refuse before anything starts what every worker would refuse."""
    take_over(build_family(recipe, facts), recipe)
