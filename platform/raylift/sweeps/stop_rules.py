"""Rules that stop hopeless trials early: pure functions of their reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class StopConfig:
    """When a trial is stopped early.

    Attributes:
        non_finite: whether to stop at a non-finite loss or score. (A non-finite loss ends training in any case; this
            records it as a stop and not as a failure.)
        critic_loss: threshold for a collapsed critic: both halves of its loss, on real and on rendered images, are
            below it, so the critic is sure of everything and the generator learns nothing. 0 disables the rule.
        critic_windows: number of consecutive log windows for which that must hold.
        flat_steps: step after which shapes must no longer be flat; 0 disables the rule.
        flat_below: thickness below which a shape is flat: the smallest of its three standard deviations along its own
            axes over the largest; 0 is a plane, 1 a ball, a car about 0.3.
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
                "use at least 1 window, steps and a loss of 0 or more, and a thickness in [0, 1)",
            )


@dataclass(frozen=True)
class Observation:
    """One report of a trial.

    Attributes:
        step: optimizer steps done.
        metrics: values by name, from the training window, an evaluation, or both.
    """

    step: int
    metrics: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"step": self.step, "metrics": dict(self.metrics)}


CRITIC_HALVES = ("loss/critic_real", "loss/critic_fake")
THICKNESS = "val/thickness_median"


def non_finite(history: Sequence[Observation], config: StopConfig) -> str | None:
    """Stops if the last report holds a non-finite loss or score."""
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
    """Stops if the critic tells real from rendered without error for several windows in a row."""
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
    """Stops if most held-out shapes are still flat, or empty, after ``flat_steps``."""
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
    """The first rule that holds, as "rule: why"; None lets the trial continue."""
    for name, rule in RULES.items():
        why = rule(history, config)
        if why is not None:
            return f"{name}: {why}"
    return None
