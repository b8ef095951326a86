"""Rules that end a trial which has nothing more to show: pure functions of what it has reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raylift.config.codec import Strict
from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class StopConfig(Strict):
    """When a trial is given up.

    Attributes:
        non_finite: a loss or a score is not a number. (A loss that is not finite ends the training by itself; this
            makes it the trial's reason and not a failure.)
        critic_loss: the critic has collapsed when both halves of its loss, on real and on rendered images, are below
            this: it is sure of everything, and the generator learns nothing from it. 0 never stops for it.
        critic_windows: log windows in a row of which that must hold.
        flat_steps: after so many steps there must be something in 3D; 0 never stops for it.
        flat_below: thickness under which a shape counts as flat: the smallest of its three standard deviations along
            its own axes over the largest; 0 is a plane, 1 a ball, a car about 0.3.
    """

    non_finite: bool = True
    critic_loss: float = 0.02
    critic_windows: int = 5
    flat_steps: int = 0
    flat_below: float = 0.05

    def __post_init__(self) -> None:
        if self.critic_windows < 1 or self.flat_steps < 0 or self.critic_loss < 0 or not 0 <= self.flat_below < 1:
            raise ConfigError(
                f"critic_windows {self.critic_windows}, flat_steps {self.flat_steps}, critic_loss {self.critic_loss},"
                f" flat_below {self.flat_below}",
                "give at least 1 window, 0 or more, and a thickness in [0, 1)",
            )


@dataclass(frozen=True)
class Observation:
    """One report of a trial.

    Attributes:
        step: optimiser steps done.
        metrics: of the training window, of an evaluation, or both.
    """

    step: int
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"step": self.step, "metrics": dict(self.metrics)}


CRITIC_HALVES = ("loss/critic_real", "loss/critic_fake")
THICKNESS = "val/thickness_median"


def non_finite(history: Sequence[Observation], config: StopConfig) -> str | None:
    """The last report holds a loss or score that is not a number."""
    if not config.non_finite or not history:
        return None
    last = history[-1]
    bad = [
        name
        for name, value in last.metrics.items()
        if name.startswith(("loss/", "val/", "gradient_norm/")) and not math.isfinite(value)
    ]
    return f"{', '.join(bad)} is not finite at step {last.step}" if bad else None


def collapsed_critic(history: Sequence[Observation], config: StopConfig) -> str | None:
    """The critic tells real from rendered without an error, window after window."""
    windows = [one for one in history if all(half in one.metrics for half in CRITIC_HALVES)][-config.critic_windows :]
    if not config.critic_loss or len(windows) < config.critic_windows:
        return None
    worst = max(one.metrics[half] for one in windows for half in CRITIC_HALVES)
    if worst >= config.critic_loss:
        return None
    return (
        f"the critic's losses stayed below {config.critic_loss:g} from step {windows[0].step} to {windows[-1].step}:"
        " it has collapsed"
    )


def no_shape_yet(history: Sequence[Observation], config: StopConfig) -> str | None:
    """After the steps that it was given, most held-out shapes are still flat, or nothing at all."""
    scored = [one for one in history if THICKNESS in one.metrics]
    if not config.flat_steps or not scored or scored[-1].step < config.flat_steps:
        return None
    thickness = scored[-1].metrics[THICKNESS]
    if thickness >= config.flat_below:
        return None
    return f"no 3D at step {scored[-1].step}: thickness {thickness:.3g} is below {config.flat_below:g}"


RULES: dict[str, Callable[[Sequence[Observation], StopConfig], str | None]] = {
    "non_finite": non_finite,
    "collapsed_critic": collapsed_critic,
    "no_shape_yet": no_shape_yet,
}


def reason_to_stop(history: Sequence[Observation], config: StopConfig) -> str | None:
    """The first rule that holds, as "rule: why"; None lets the trial go on."""
    for name, rule in RULES.items():
        why = rule(history, config)
        if why is not None:
            return f"{name}: {why}"
    return None
