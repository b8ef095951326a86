"""How a run optimises, how long, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.learning_rate import LearningRateConfig
from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class OptimisationConfig:
    """One player's optimiser.

    Attributes:
        optimizer: "adamw" or "adam".
        learning_rate: the maximum that the schedule's factor multiplies.
        weight_decay: decoupled (AdamW).
        betas: of Adam.
        clip_norm: gradients of a player are scaled down to this global norm; 0 never clips.
        ema_decay: exponential moving average of the parameters, used for evaluation; 0 keeps none.
        schedule: how the learning rate moves.
    """

    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    schedule: LearningRateConfig = field(default_factory=LearningRateConfig)

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"optimisation.learning_rate is {self.learning_rate}", "give a positive rate")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"optimisation.ema_decay is {self.ema_decay}", "give a decay in [0, 1), such as 0.999")
        if self.weight_decay < 0 or self.clip_norm < 0:
            raise ConfigError("optimisation.weight_decay and clip_norm must be 0 or more", "0 turns either off")


@dataclass(frozen=True)
class ScheduleConfig:
    """How long a run is and how often it stops to look. All intervals are in steps.

    Attributes:
        num_epochs: passes over the training set; used when num_steps is 0.
        num_steps: optimiser steps; 0 means num_epochs decides.
        log_every: metrics are averaged over so many steps and logged.
        eval_every: the validation split is evaluated; 0 only at the end.
        panel_every: pictures of fixed held-out objects are logged; 0 only at the end.
        checkpoint_every: a checkpoint is committed.
        keep_last: newest checkpoints kept beside the best one.
        best_metric: what "best" means; the direction follows. Of data sets of shapes ``val/iou``, of image collections
            ``val/mask_iou`` or ``val/ssim``.
        best_is: "max" or "min".
    """

    num_epochs: int = 80
    num_steps: int = 0
    log_every: int = 20
    eval_every: int = 500
    panel_every: int = 0
    checkpoint_every: int = 250
    keep_last: int = 2
    best_metric: str = "val/iou"
    best_is: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        if self.num_steps < 0 or (self.num_steps == 0 and self.num_epochs < 1):
            raise ConfigError("schedule has neither steps nor epochs", "set schedule.num_steps or schedule.num_epochs")
        if min(self.log_every, self.checkpoint_every, self.keep_last) < 1:
            raise ConfigError("schedule.log_every, checkpoint_every and keep_last must be at least 1", "raise them")
        if min(self.eval_every, self.panel_every) < 0:
            raise ConfigError("schedule.eval_every and panel_every must be 0 or more", "0 means only at the end")
