"""Results of a sweep: the table of trials, the best one, the Pareto front, and the importance of each value."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from raylift.config.recipe import Recipe
from raylift.sweeps.config import Metric, Sweep
from raylift.sweeps.proposals import optuna_trial, quiet_optuna
from raylift.sweeps.records import Trial
from raylift.sweeps.space import Space
from raylift.sweeps.trial_recipes import trial_recipe

FEWEST_FOR_IMPORTANCE = 4


def ranked(trials: Sequence[Trial], metrics: Sequence[Metric]) -> list[Trial]:
    """Best first by the first metric, trials without a score last, ties by number."""
    metric = metrics[0]

    def key(trial: Trial) -> tuple[float, int]:
        scores = trial.scores(metrics)
        return (math.inf if scores is None else -metric.sign * scores[0], trial.number)

    return sorted(trials, key=key)


def best_trial(trials: Sequence[Trial], metrics: Sequence[Metric]) -> Trial | None:
    """The best by the first metric; None if no trial has a score."""
    first = next(iter(ranked(trials, metrics)), None)
    return first if first is not None and first.scores(metrics) is not None else None


def pareto_front(trials: Sequence[Trial], metrics: Sequence[Metric]) -> list[Trial]:
    """Trials that no other is at least as good as in every metric and better in one; best by the first metric first."""
    scored = [
        (trial, tuple(metric.sign * value for metric, value in zip(metrics, scores, strict=True)))
        for trial in ranked(trials, metrics)
        if (scores := trial.scores(metrics)) is not None
    ]

    def beats(left: tuple[float, ...], right: tuple[float, ...]) -> bool:
        return left != right and all(ours >= theirs for ours, theirs in zip(left, right, strict=True))

    return [trial for trial, own in scored if not any(beats(other, own) for _, other in scored)]


def importances(space: Space, trials: Sequence[Trial], metric: Metric) -> dict[str, float]:
    """Fraction of the scores' variance that each dimension explains alone (fANOVA, Hutter et al. 2014), largest first.

    Of dimensions that every scored trial has; empty with fewer than four such trials, or if all scores are equal.
    """
    scored = [trial for trial in trials if trial.score(metric) is not None]
    scores = [trial.score(metric) for trial in scored]
    if len(scored) < FEWEST_FOR_IMPORTANCE or len(set(scores)) < 2:
        return {}
    optuna = quiet_optuna()
    study = optuna.create_study(direction="maximize" if metric.direction == "max" else "minimize")
    for trial in scored:
        study.add_trial(optuna_trial(space, trial, (metric,)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {name: float(value) for name, value in optuna.importance.get_param_importances(
        study, evaluator=evaluator).items()}  # fmt: skip


def trial_rows(trials: Sequence[Trial], sweep: Sweep) -> list[dict[str, Any]]:
    """One row per trial, best first, for tables and files."""
    rows = []
    for trial in ranked(trials, sweep.metrics):
        scores = trial.scores(sweep.metrics) or (None,) * len(sweep.metrics)
        own = trial.generation.values
        rows.append(
            {
                "trial": trial.name,
                **dict(zip((metric.name for metric in sweep.metrics), scores, strict=True)),
                "step": trial.step,
                "status": trial.end.status,
                "minutes": round(trial.seconds / 60, 2),
                **{path: _cell(own.get(path)) for path in sweep.space.dimensions},
                "reason": trial.end.reason,
            }
        )
    return rows


def best_recipe(base: Recipe, trial: Trial) -> Recipe:
    """The recipe that a trial ended with, for ``raylift train``."""
    return trial_recipe(base, trial.generation.values)


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)
