"""A sweep: which recipe, which of its values, judged by what, for how long; read from JSON and refused early."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raylift.config import tree
from raylift.config.codec import read_json, to_dict
from raylift.config.overrides import Override, parse_override
from raylift.config.ready_files import find_file, ready_names
from raylift.core.errors import ConfigError
from raylift.sweeps.space import Space
from raylift.sweeps.stop_rules import StopConfig

SCOPE = "sweep"
"""Scope of overrides of the sweep's own values, such as sweep:budget.trials=4; the others are the recipe's."""
READY = Path(__file__).parent / "ready"
"""Folder of the ready sweeps: ``tuning/sweeps`` in a checkout."""
EXTENDABLE = ("title", "about", "budget.trials", "budget.minutes", "resources.concurrency")
"""What may change between two calls for one sweep: it decides how far a sweep goes, not what its trials are."""


@dataclass(frozen=True)
class Metric:
    """What trials are judged by.

    Attributes:
        name: as a run logs it with an evaluation, such as ``val/iou``.
        direction: which end is good.
    """

    name: str
    direction: Literal["max", "min"] = "max"

    @property
    def sign(self) -> float:
        """Multiplies values so that more is better."""
        return 1.0 if self.direction == "max" else -1.0


@dataclass(frozen=True)
class SchedulerConfig:
    """Which running trials go on.

    Attributes:
        kind: "asha" halves the field again and again, "median" stops what is below the median of the others so far,
            "pbt" lets the worst go on from the best with perturbed values, "none" lets all run to their end.
        grace_steps: no trial is stopped before; 0 is the first evaluation.
        reduction: of "asha": of so many trials at a rung one goes on.
        every_steps: of "pbt": steps between two comparisons; 0 is every evaluation.
        quantile: of "pbt": this share of the population goes on from as many of the best.
        resample: of "pbt": how often a value is drawn anew; otherwise it moves by a fifth, up or down.
    """

    kind: Literal["asha", "median", "pbt", "none"] = "none"
    grace_steps: int = 0
    reduction: int = 3
    every_steps: int = 0
    quantile: float = 0.25
    resample: float = 0.25

    def __post_init__(self) -> None:
        if self.grace_steps < 0 or self.every_steps < 0 or self.reduction < 2:
            raise ConfigError(
                f"grace_steps {self.grace_steps}, every_steps {self.every_steps}, reduction {self.reduction}",
                "give steps of 0 or more and a reduction of at least 2",
            )
        if not 0 < self.quantile <= 0.5 or not 0 <= self.resample <= 1:
            raise ConfigError(
                f"quantile {self.quantile}, resample {self.resample}", "give a quantile in (0, 0.5], resample in [0, 1]"
            )


@dataclass(frozen=True)
class SearcherConfig:
    """Who proposes values.

    Attributes:
        kind: "tpe" learns from the trials so far (Optuna), "random" does not, "grid" takes all combinations.
        seed: of every draw.
        random_first: of "tpe": trials before it trusts what it has learned.
        own_first: the first trial has the recipe's own values, where they lie in the space: what is to be beaten. Not
            of "grid".
    """

    kind: Literal["tpe", "random", "grid"] = "random"
    seed: int = 0
    random_first: int = 6
    own_first: bool = True

    def __post_init__(self) -> None:
        if self.seed < 0 or self.random_first < 1:
            raise ConfigError(
                f"seed {self.seed}, random_first {self.random_first}", "give a seed of 0 or more, 1 trial"
            )


@dataclass(frozen=True)
class Budget:
    """When a sweep is over.

    Attributes:
        trials: in all; of a grid 0 is all of it. A later call with more goes on.
        steps: of each trial, in place of the recipe's; 0 leaves the recipe's.
        minutes: that one call may take; 0 is no limit. The next call goes on where it ended.
    """

    trials: int = 0
    steps: int = 0
    minutes: float = 0.0

    def __post_init__(self) -> None:
        if min(self.trials, self.steps, self.minutes) < 0:
            raise ConfigError(f"trials {self.trials}, steps {self.steps}, minutes {self.minutes}", "give 0 or more")


@dataclass(frozen=True)
class TrialResources:
    """What each trial runs on, in place of the recipe's scale; see ``recipes.recipe.ScaleConfig``.

    Attributes:
        workers: 0 trains inside the trial's own process: the least overhead for small recipes, and the only way to
            share a GPU between trials without a process group.
        cpus_per_worker: logical CPUs.
        gpus_per_worker: a share of one GPU, such as 0.5, or whole ones; 0 trains on CPUs.
        concurrency: trials at once, at most; 0 is as many as there is room for.
    """

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: float = 0.0
    concurrency: int = 0

    def __post_init__(self) -> None:
        if min(self.workers, self.gpus_per_worker, self.concurrency) < 0 or self.cpus_per_worker <= 0:
            raise ConfigError("resources below 0", "give 0 or more, and CPUs above 0")


@dataclass(frozen=True)
class Sweep:
    """One sweep; ``tuning/sweeps`` has ready ones.

    Attributes:
        title: shown above results.
        about: what it is for and what it costs.
        recipe: that every trial starts from.
        overrides: of the recipe, as path=value.
        space: what is searched.
        metrics: one, or two for a Pareto front.
        others: see there.
    """

    title: str
    recipe: str
    space: Space
    metrics: tuple[Metric, ...]
    about: str = ""
    overrides: tuple[str, ...] = ()
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    searcher: SearcherConfig = field(default_factory=SearcherConfig)
    budget: Budget = field(default_factory=Budget)
    resources: TrialResources = field(default_factory=TrialResources)
    stop: StopConfig = field(default_factory=StopConfig)

    def __post_init__(self) -> None:
        if len(self.metrics) not in (1, 2) or len({metric.name for metric in self.metrics}) != len(self.metrics):
            raise ConfigError(f"{len(self.metrics)} metrics", "give one, or two different ones for a Pareto front")
        if len(self.metrics) == 2 and self.scheduler.kind != "none":
            raise ConfigError(
                f"scheduler {self.scheduler.kind!r} with two metrics", "set scheduler.kind=none: it needs one order"
            )
        searcher, kinds = self.searcher.kind, {part.kind for part in self.space.dimensions.values()}
        if searcher == "tpe" and "grid" in kinds:
            raise ConfigError("searcher tpe over a dimension of kind grid", "make it a choice, or search by random")
        if searcher != "grid" and not self.budget.trials:
            raise ConfigError("budget.trials is 0", "only a grid has an end of its own: give a number of trials")
        if self.scheduler.kind == "pbt":
            if searcher != "random":
                raise ConfigError(f"searcher {searcher!r} with pbt", "set searcher.kind=random: pbt does the searching")
            if self.budget.trials < 2:
                raise ConfigError("pbt with one trial", "give budget.trials of 2 or more: its population")
            if any(part.when for part in self.space.dimensions.values()):
                raise ConfigError("pbt over a conditional dimension", "leave `when` out, or use another scheduler")

    def to_dict(self) -> dict[str, Any]:
        """What ``from_dict`` reads."""
        return {**to_dict(self), "space": self.space.to_dict()}

    def decisive(self) -> dict[str, Any]:
        """Every value that decides what a trial is, by dotted path."""
        values = tree.flatten({**self.to_dict(), "space": {path: json.dumps(part) for path, part in
                                                     self.space.to_dict().items()}})  # fmt: skip
        return {path: value for path, value in values.items() if path not in EXTENDABLE}

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits over ``decisive``."""
        return hashlib.sha256(json.dumps(self.decisive(), sort_keys=True).encode()).hexdigest()[:12]


def from_dict(values: Any) -> Sweep:
    """Build a sweep from what JSON gives.

    Raises:
        ConfigError: what is missing, unknown or impossible.
    """
    return read_json(Sweep, json.dumps(values))


def read_sweep(path: Path, overrides: Iterable[str] = ()) -> Sweep:
    """Read a sweep's JSON file, or a ready sweep.

    Args:
        path: of the file, or the name of a ready sweep.
        overrides: recipe values as path=value, and the sweep's own as sweep:path=value.

    Raises:
        ConfigError: not a file, not JSON, or not a sweep.
    """
    path = find_file(path, READY)
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        ready = ", ".join(sorted(file.stem for file in path.parent.glob("*.json")))
        remedy = f"there are: {ready}" if ready else f"ready ones: {', '.join(ready_names(READY))}"
        raise ConfigError(f"cannot read the sweep {path}: {error.strerror}", remedy) from None
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not JSON: {error}", "fix it") from None
    given = [(word, parse_override(word)) for word in overrides]
    if isinstance(values, dict):
        _assign(values, [one for _, one in given if one.scope == SCOPE])
        recipe = [word for word, one in given if one.scope != SCOPE]
        values["overrides"] = [*values.get("overrides", []), *recipe]
    try:
        return from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.problem}", error.remedy) from None


def _assign(values: dict[str, Any], overrides: Iterable[Override]) -> None:
    """Put ``group.name=value`` into plain values; the types are checked when the sweep is built."""
    for one in overrides:
        group, dot, name = one.path.partition(".")
        if dot and not isinstance(values.setdefault(group, {}), dict):
            raise ConfigError(f"override {SCOPE}:{one.text}", f"write {SCOPE}:budget.trials=4")
        if dot:
            values[group][name] = one.value
        else:
            values[group] = one.value
