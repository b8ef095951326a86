"""Proposals of trial values: Optuna's TPE, independent draws, or a grid; resumed from the recorded trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from raylift.core.generators import stable_hash
from raylift.sweeps.config import Metric, Sweep
from raylift.sweeps.records import Trial
from raylift.sweeps.space import Choice, Dimension, Range, Space, Values


class Proposals(Protocol):
    """An endless or finite sequence of values."""

    def propose(self, number: int) -> Values | None:
        """Values of trial ``number``; None when there are no more."""

    def tell(self, trial: Trial) -> None:
        """Report a trial that has ended."""


class Draws:
    """Each trial's values follow from the seed and its number alone; or a grid's combinations, in order."""

    def __init__(self, sweep: Sweep, base: Mapping[str, Any]) -> None:
        self._space, self._base, self._seed = sweep.space, base, sweep.searcher.seed
        self._cells = sweep.space.grid(base) if sweep.searcher.kind == "grid" else None
        self._own = sweep.space.own(base) if sweep.searcher.own_first else None

    def propose(self, number: int) -> Values | None:
        if self._cells is not None:
            return self._cells[number] if number < len(self._cells) else None
        if number == 0 and self._own is not None:
            return self._own
        # The recipe's own values are one more trial: draws begin after them, or a grid's first cell would be skipped.
        return self._space.draw(self._base, self._seed, number - (self._own is not None))

    def tell(self, trial: Trial) -> None:
        """Nothing is learned from it."""


class TreeParzen:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), for one metric or a Pareto front."""

    def __init__(self, sweep: Sweep, base: Mapping[str, Any], first_number: int = 0) -> None:
        optuna = quiet_optuna()
        self._optuna, self._space, self._base, self._metrics = optuna, sweep.space, base, sweep.metrics
        seed = sweep.searcher.seed
        if first_number:
            # Otherwise a later command would repeat the first one's draws.
            seed = stable_hash(seed, first_number) % 2**32
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=sweep.searcher.random_first, constant_liar=True
        )
        self._study = optuna.create_study(sampler=sampler, directions=[_direction(one) for one in sweep.metrics])
        self._asked: dict[int, Any] = {}
        self._own = sweep.space.own(base) if sweep.searcher.own_first else None

    def propose(self, number: int) -> Values | None:
        if number == 0 and self._own is not None:
            self._study.enqueue_trial(
                {path: _index(self._space.dimensions[path], value) for path, value in self._own.items()}
            )
        asked = self._asked[number] = self._study.ask()
        return self._space.fill(lambda path, dimension: _suggest(asked, path, dimension), self._base)

    def tell(self, trial: Trial) -> None:
        scores = trial.scores(self._metrics)
        asked = self._asked.pop(trial.number, None)
        if asked is None:
            self._study.add_trial(optuna_trial(self._space, trial, self._metrics))
        elif scores is None:
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(asked, list(scores))


def open_proposals(
    sweep: Sweep, base: Mapping[str, Any], ended: Sequence[Trial] = (), num_waiting: int = 0
) -> Proposals:
    """The sweep's searcher, with all ended trials reported to it.

    Args:
        num_waiting: number of trials that were proposed before and have not ended.
    """
    proposals: Proposals = Draws(sweep, base)
    if sweep.searcher.kind == "tpe":
        proposals = TreeParzen(sweep, base, len(ended) + num_waiting)
    for trial in ended:
        proposals.tell(trial)
    return proposals


def quiet_optuna() -> Any:
    """Optuna, without a log line for every trial; imported late, since workers do not need it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def optuna_trial(space: Space, trial: Trial, metrics: Sequence[Metric]) -> Any:
    """A recorded trial as Optuna's; a choice is the index of its value."""
    optuna = quiet_optuna()
    values = trial.generation.values
    scores = trial.scores(metrics)
    states = optuna.trial.TrialState
    parts = {path: space.dimensions[path] for path in values}
    return optuna.trial.create_trial(
        state=states.FAIL if scores is None else states.COMPLETE,
        values=None if scores is None else list(scores),
        params={path: _index(part, values[path]) for path, part in parts.items()},
        distributions={path: _distribution(part) for path, part in parts.items()},
    )


def _direction(metric: Metric) -> str:
    return {"max": "maximize", "min": "minimize"}[metric.direction]


def _suggest(asked: Any, path: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Choice):
        return dimension.values[asked.suggest_categorical(path, list(range(len(dimension.values))))]
    suggest = asked.suggest_int if dimension.is_whole else asked.suggest_float
    ends = _distribution(dimension)
    return suggest(path, ends.low, ends.high, log=ends.log)


def _distribution(dimension: Dimension) -> Any:
    distributions = quiet_optuna().distributions
    if isinstance(dimension, Choice):
        return distributions.CategoricalDistribution(list(range(len(dimension.values))))
    assert isinstance(dimension, Range)
    if dimension.is_whole:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), log=dimension.is_log)
    return distributions.FloatDistribution(dimension.low, dimension.high, log=dimension.is_log)


def _index(dimension: Dimension, value: Any) -> Any:
    return dimension.values.index(value) if isinstance(dimension, Choice) else value
