"""From a recipe's name to the runs that train it: one, or one a stage, each from the one before."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.models import catalogue


def plan_runs(name: str, overrides: Sequence[str], storage: str, run_name: str = "") -> list[tuple[str, Recipe]]:
    """The runs to train, in order, with their names; all recipes are checked before the first run starts.

    Args:
        name: of a recipe, of a chain of stages, or a recipe's JSON file.
        overrides: ``path=value`` for every stage, ``stage2:path=value`` for that one alone.
        storage: folder of runs, where a stage finds the one before.
        run_name: of the run, or what stages' names begin with; by default the recipe's, with a dash.

    Raises:
        ConfigError: an unknown recipe, stage, path, type or value.
    """
    stages = catalogue.chain(name)
    if len(stages) == 1:
        recipe = catalogue.get(name, stage_overrides(overrides, "", []))
        return [(run_name or recipe.name.replace("/", "-"), recipe)]
    whole = run_name or name.replace("/", "-")
    labels = stage_labels(name)
    runs: list[tuple[str, Recipe]] = []
    for stage, label in zip(stages, labels, strict=True):
        # A stage's own start_from, given by an override, wins over the run of the stage before.
        start = [f"start_from={storage.rstrip('/')}/{runs[-1][0]}"] if runs else []
        runs.append((f"{whole}.{label}", catalogue.get(stage, [*start, *stage_overrides(overrides, label, labels)])))
    return runs


def stage_labels(name: str) -> list[str]:
    """What a chain's stages are called, in order; nothing for a single recipe."""
    stages = catalogue.chain(name)
    if len(stages) == 1:
        return []
    # A stage of another model is called by that model's name.
    return [stage.rpartition(".")[2] if "." in stage else stage.partition("/")[0] for stage in stages]


def stage_of(override: str) -> str:
    """The stage that an override names; "" for those of every stage."""
    stage, colon, _ = override.partition("=")[0].partition(":")
    return stage if colon else ""


def stage_overrides(overrides: Sequence[str], label: str, labels: Sequence[str]) -> list[str]:
    """Those for every stage, and those of this one without its name.

    Raises:
        ConfigError: a stage that there is not.
    """
    chosen = []
    for override in overrides:
        stage = stage_of(override)
        if not stage:
            chosen.append(override)
        elif not label or stage not in labels:
            known = ", ".join(labels) if label else "none: this is a single recipe"
            raise ConfigError(f"override {override!r} is for a stage {stage!r}", f"stages are {known}")
        elif stage == label:
            chosen.append(override.partition(":")[2])
    return chosen
