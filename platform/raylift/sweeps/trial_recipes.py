"""The recipes of a sweep's trials; what can be refused is refused before the first one starts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from raylift.config import tree
from raylift.config.codec import to_dict
from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.kinds import evaluation_of
from raylift.models import catalogue
from raylift.sweeps.config import Sweep
from raylift.sweeps.space import Values

FIXED = (
    "name",
    "scale",
    "evaluation",
    "schedule.num_steps",
    "schedule.num_epochs",
    "schedule.eval_every",
    "schedule.best_metric",
    "schedule.best_is",
)
"""Paths that cannot be searched, since they decide how trials are compared."""
SPOT_CHECKS = 32
"""Trials of a random search that are checked in addition to the corners of the space."""


def base_recipe(sweep: Sweep) -> Recipe:
    """The recipe that all trials share: with the sweep's resources and steps, and its metric for the best checkpoint.

    Raises:
        ConfigError: an unknown recipe or override, or no number of steps.
    """
    recipe = catalogue.get(sweep.recipe, sweep.overrides)
    resources, metric = sweep.resources, sweep.metrics[0]
    values: Values = {
        "scale.workers": resources.workers,
        "scale.cpus_per_worker": resources.cpus_per_worker,
        "scale.loaders": max(1, recipe.scale.loaders),  # what a node has to spare, other trials use
        "scale.gpu": "always" if resources.gpus_per_worker else "never",
        "schedule.num_steps": sweep.budget.steps or recipe.schedule.num_steps,
    }
    if resources.gpus_per_worker:
        values["scale.gpus_per_worker"] = resources.gpus_per_worker
    if metric.name.startswith("val/"):
        values |= {"schedule.best_metric": metric.name, "schedule.best_is": metric.direction}
    recipe = tree.override_values(recipe, values)
    schedule = recipe.schedule
    if not schedule.num_steps:
        raise ConfigError(f"{recipe.name} counts epochs, but trials are compared by steps", "set budget.steps")
    if sweep.scheduler.kind != "none" and not 0 < schedule.eval_every < schedule.num_steps:
        raise ConfigError(
            f"scheduler {sweep.scheduler.kind!r}, but trials of {schedule.num_steps} steps are first evaluated at"
            f" {schedule.eval_every or schedule.num_steps}",
            "lower schedule.eval_every: trials are compared at evaluations",
        )
    if sweep.scheduler.grace_steps >= schedule.num_steps:
        raise ConfigError(
            f"scheduler.grace_steps is {sweep.scheduler.grace_steps} of {schedule.num_steps} steps",
            "lower it: no trial could be stopped before its end",
        )
    return recipe


def trial_recipe(base: Recipe, values: Values) -> Recipe:
    """One trial's recipe.

    Raises:
        ConfigError: the recipe is impossible with these values, which the message names.
    """
    try:
        return tree.override_values(base, values)
    except ConfigError as error:
        raise ConfigError(f"a trial with {shown(values)}: {error.problem}", error.remedy) from None


def base_values(base: Recipe) -> Values:
    """The recipe's own values by path, which conditions of the space may refer to."""
    return tree.flatten(base)


def check_space(sweep: Sweep, base: Recipe) -> list[Recipe]:
    """The recipes at the corners of the space and of a sample of its trials, all built and checked.

    Raises:
        ConfigError: a path that is not the recipe's or cannot be searched, a wrong type, an impossible value.
    """
    known = base_values(base)
    for path, dimension in sweep.space.dimensions.items():
        if any(path == fixed or path.startswith(f"{fixed}.") for fixed in FIXED):
            raise ConfigError(f"space.{path} cannot be searched", "set it for all trials, as an override or in budget")
        for other in dimension.when:
            if other not in known:
                # Raises the error of a wrong override, with the nearest name.
                tree.override_values(base, {other: dimension.when[other][0]})
    corners = sweep.space.corners(known)
    if sweep.searcher.kind == "grid":
        drawn = sweep.space.grid(known)
    else:
        drawn = [sweep.space.draw(known, sweep.searcher.seed, number) for number in range(SPOT_CHECKS)]
    return [trial_recipe(base, values) for values in [*corners, *drawn]]


def check_metrics(sweep: Sweep, dataset: ShardedDataset, base: Recipe) -> None:
    """Refuse a metric that validation on this data set does not measure.

    Raises:
        ConfigError: names the metrics that it does measure.
    """
    measured = [f"val/{name}" for name in evaluation_of(dataset).validated]
    has_validation = bool(dataset.entries("val", base.data.categories))
    for metric in sweep.metrics:
        if metric.name.startswith("val/") and metric.name not in measured:
            raise ConfigError(
                f"metric {metric.name} never appears: validation on this data set does not measure it",
                f"use one of {', '.join(measured)}",
            )
        if metric.name.startswith("val/") and not has_validation:
            raise ConfigError(
                f"metric {metric.name} never appears: {dataset.uri} has no validation objects",
                "prepare it with --config.val-share above 0, or use a loss as metric",
            )


def check_same_state(recipes: Iterable[Recipe], info: DatasetInfo) -> None:
    """Refuse a population whose models cannot load each other's checkpoints.

    Raises:
        ConfigError: two recipes whose parameters, buffers or groups differ.
    """
    first: tuple[Recipe, Any] | None = None
    seen = set()
    for recipe in recipes:
        # Only the model decides the state, and most corners differ in numbers that do not.
        key = json.dumps(to_dict(recipe.model), sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        model = catalogue.build_model(recipe, info)
        state = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        found = (state, sorted(model.parameter_groups()))
        if first is None:
            first = (recipe, found)
        elif found != first[1]:
            differing = tree.differences(first[0], recipe)
            raise ConfigError(
                f"pbt over {', '.join(differing)}: these change the model's parameters",
                "search only values that keep parameters and groups unchanged, such as weights that stay above 0",
            )


def shown(values: Values) -> str:
    """Values as on a command line."""
    return " ".join(f"{path}={_short(value)}" for path, value in values.items()) or "the recipe's own values"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
