"""From a recipe's name to the runs that train it: one, or one per stage, each initialised from the previous one."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.config.overrides import parse_override
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError
from raylift.models import catalogue


def plan_runs(name: str, overrides: Sequence[str], storage: str, run_name: str = "") -> list[tuple[str, Recipe]]:
    """Plan the runs to train, in order, with their names; all recipes are checked before the first run starts.

    Args:
        name: name of a recipe or of a chain of stages, or a recipe's JSON file.
        overrides: ``path=value`` for every stage, ``stage2:path=value`` for that stage alone.
        storage: folder of runs, where a stage finds the previous one.
        run_name: run name, or prefix of the stages' names; by default the recipe's name with "/" replaced by "-".

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
        # A stage's own start_from, set by an override, takes precedence over the previous stage's run.
        start = [f"start_from={storage.rstrip('/')}/{runs[-1][0]}"] if runs else []
        runs.append((f"{whole}.{label}", catalogue.get(stage, [*start, *stage_overrides(overrides, label, labels)])))
    return runs


def stage_labels(name: str) -> list[str]:
    """Labels of a chain's stages, in order; empty for a single recipe."""
    stages = catalogue.chain(name)
    if len(stages) == 1:
        return []
    # A stage of another model is labelled with that model's name.
    return [stage.rpartition(".")[2] if "." in stage else stage.partition("/")[0] for stage in stages]


def stage_of(override: str) -> str:
    """Return the stage that an override names; "" if it applies to every stage."""
    return parse_override(override).scope


def stage_overrides(overrides: Sequence[str], label: str, labels: Sequence[str]) -> list[str]:
    """Select the overrides for every stage, and those for this stage without its label.

    Raises:
        ConfigError: an unknown stage, or not an override.
    """
    chosen = []
    for override in overrides:
        stage, _, _, text = parse_override(override)
        if stage and (not label or stage not in labels):
            known = ", ".join(labels) if label else "none (this is a single recipe)"
            raise ConfigError(f"override {override!r} is for an unknown stage {stage!r}", f"known stages: {known}")
        if stage in ("", label):
            chosen.append(text)
    return chosen
