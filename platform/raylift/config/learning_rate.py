"""Learning-rate schedules as pure functions of the step, so that a restart needs no state (law 4).

Each returns the factor that multiplies a group's maximum learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError

ScheduleKind = Literal["one_cycle", "constant", "inverse_time", "cosine"]


@dataclass(frozen=True)
class LearningRateConfig:
    """Schedule of the learning rate.

    Attributes:
        kind: "one_cycle" (Smith and Topin 2018, the implicit paper), "constant", "inverse_time"
            (1 / (1 + decay * step), UMR) or "cosine".
        warmup_fraction: fraction of the run in which the rate rises (one_cycle).
        start_divisor: maximum / first rate (one_cycle).
        end_divisor: first / last rate (one_cycle).
        decay: decay per step (inverse_time).
    """

    kind: ScheduleKind = "one_cycle"
    warmup_fraction: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    decay: float = 5e-4

    def __post_init__(self) -> None:
        if not 0 < self.warmup_fraction < 1:
            raise ConfigError(f"warmup_fraction is {self.warmup_fraction}", "use a fraction between 0 and 1")
        if min(self.start_divisor, self.end_divisor) < 1:
            raise ConfigError("start_divisor and end_divisor must be at least 1", "torch's defaults are 25 and 10000")
        if self.decay < 0:
            raise ConfigError(f"decay is {self.decay}", "use 0 or more")


def learning_rate_factor(config: LearningRateConfig, step: int, num_steps: int) -> float:
    """The factor on the maximum rate at ``step`` of ``num_steps``.

    One-cycle is the two-phase cosine form of ``torch.optim.lr_scheduler.OneCycleLR`` (checked by a test).
    """
    if config.kind == "constant":
        return 1.0
    if config.kind == "inverse_time":
        return 1.0 / (1.0 + config.decay * step)
    if config.kind == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, num_steps))))
    first, last = 1.0 / config.start_divisor, 1.0 / (config.start_divisor * config.end_divisor)
    peak = config.warmup_fraction * num_steps - 1.0
    end = num_steps - 1.0
    if peak > 0 and step <= peak:
        return _cosine_between(first, 1.0, step / peak)
    return _cosine_between(1.0, last, min(1.0, (step - peak) / max(1e-12, end - peak)))


def _cosine_between(start: float, stop: float, share: float) -> float:
    return stop + (start - stop) * 0.5 * (1.0 + math.cos(math.pi * share))
