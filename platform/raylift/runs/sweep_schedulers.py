"""Tune's schedulers and searcher for a sweep, initialised with the trials of earlier commands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import Searcher

from raylift.config.recipe import Recipe
from raylift.sweeps.config import Sweep
from raylift.sweeps.proposals import Proposals
from raylift.sweeps.records import SweepFolder, Trial, trial_name
from raylift.sweeps.space import Choice, Range, Values

NUMBER = "trial"
"""Key of the trial's number in what Tune calls a trial's config."""
FACTORS = (1.2, 0.8)


@dataclass(frozen=True)
class Remembered:
    """A trial of an earlier command, reduced to what schedulers read."""

    trial_id: str


class _NoController:
    """Replaces Tune's controller while earlier trials are replayed to a scheduler."""

    def get_live_trials(self) -> list[Any]:
        """No trial is running."""
        return []


def open_scheduler(sweep: Sweep, base: Recipe, on_stop: Callable[[int, str], None]) -> TrialScheduler:
    """The sweep's scheduler.

    Args:
        on_stop: called with a trial's number and the reason when the scheduler ends it.
    """
    config, metric = sweep.scheduler, sweep.metrics[0]
    steps, first = base.schedule.num_steps, base.schedule.eval_every
    common: dict[str, Any] = {"time_attr": "step", "metric": metric.name, "mode": metric.direction}
    grace = config.grace_steps or first
    if config.kind == "asha":
        # One more than the trial's steps, since a trial at its last step ends by itself.
        asha = _stopping(AsyncHyperBandScheduler, config.kind, on_stop)
        return asha(**common, max_t=steps + 1, grace_period=grace, reduction_factor=config.reduction)
    if config.kind == "median":
        return _stopping(MedianStoppingRule, config.kind, on_stop)(**common, grace_period=grace)
    if config.kind == "pbt":
        return PopulationBasedTraining(
            **common,
            perturbation_interval=config.every_steps or first,
            burn_in_period=config.grace_steps,
            hyperparam_mutations=mutations(sweep),
            quantile_fraction=config.quantile,
            resample_probability=config.resample,
            perturbation_factors=FACTORS,
            custom_explore_fn=lambda values: inside(sweep, values),
            log_config=False,
        )
    return FIFOScheduler()


def mutations(sweep: Sweep) -> dict[str, Any]:
    """How population-based training resamples each value: from its dimension."""
    generator = np.random.default_rng(sweep.searcher.seed)

    def drawing(dimension: Range) -> Callable[[], float | int]:
        return lambda: dimension.draw(generator)

    return {
        path: list(part.values) if isinstance(part, Choice) else drawing(part)
        for path, part in sweep.space.dimensions.items()
    }


def inside(sweep: Sweep, config: Values) -> Values:
    """Perturbed values, clipped to their dimensions."""
    dimensions = sweep.space.dimensions
    return {
        path: part.clip(value) if isinstance(part := dimensions.get(path), Range) else value
        for path, value in config.items()
    }


def recall(scheduler: TrialScheduler, trials: Sequence[Trial], sweep: Sweep) -> None:
    """Replay the trials that ended in earlier commands to a scheduler, so that it compares with them."""
    if sweep.scheduler.kind not in ("asha", "median"):
        return
    metric = sweep.metrics[0].name
    for trial in trials:
        known: Any = Remembered(trial.name)
        scheduler.on_trial_add(_NoController(), known)
        for report in trial.reports:
            if math.isfinite(report.metrics[metric]):
                result = {"step": report.step, metric: report.metrics[metric]}
                scheduler.on_trial_result(_NoController(), known, result)


def _stopping(base: type[Any], name: str, on_stop: Callable[[int, str], None]) -> type[Any]:
    class Stopping(base):  # type: ignore[misc]
        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision: str = super().on_trial_result(controller, trial, result)
            if decision == TrialScheduler.STOP and not isinstance(trial, Remembered):
                on_stop(trial.config[NUMBER], f"scheduler: {name} at step {result['step']}")
            return decision

    return Stopping


class Proposing(Searcher):
    """Suggests trials to Tune: first those to resume, then new ones as they are proposed.

    Args:
        queue: trials that an earlier command left unfinished.
        numbers: numbers of new trials.
    """

    def __init__(
        self, proposals: Proposals, folder: SweepFolder, queue: Sequence[Trial], numbers: Sequence[int]
    ) -> None:
        super().__init__()
        self._proposals, self._folder = proposals, folder
        self._queue, self._numbers = list(queue), list(numbers)
        self._of_id: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher to restore from; a sweep resumes from its own records.
        return {}

    def suggest(self, trial_id: str) -> Any:
        if self._queue:
            trial = self._queue.pop(0)
            self._of_id[trial_id] = trial.number
            return {NUMBER: trial.number, **trial.generation.values}
        if not self._numbers:
            return Searcher.FINISHED
        number = self._numbers[0]
        values = self._proposals.propose(number)
        if values is None:
            self._numbers.clear()
            return Searcher.FINISHED
        self._numbers.pop(0)
        self._folder.plan(number, values)
        self._of_id[trial_id] = number
        return {NUMBER: number, **values}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._proposals.tell(self._folder.trial(self._of_id.pop(trial_id)))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: a sweep resumes from its own records."""

    def restore(self, checkpoint_path: str) -> None:
        """See ``save``."""


def name_of(trial: Any) -> str:
    """Tune's name for a trial; a trial keeps it when PBT gives it another trial's config."""
    return trial_name(int(trial.config[NUMBER]))
