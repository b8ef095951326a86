"""How long a run is, how often it logs, evaluates and checkpoints, and what it keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.tree import FREE
from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class ScheduleConfig:
    """How long a run is and how often it logs, evaluates and checkpoints. Intervals are in steps, or in
    seconds where their names end in _s.

    Attributes:
        num_epochs: passes over the training set; used if num_steps is 0.
        num_steps: optimizer steps; 0 uses num_epochs.
        log_every: steps between logs of metrics, which are averaged over them.
        eval_every: steps between evaluations of the validation split; 0: only at the end.
        panel_every: steps between image panels of fixed held-out objects; 0: only at the end.
        checkpoint_every: steps between checkpoints. They are written while training goes on.
        checkpoint_every_s: seconds after which a checkpoint is due as well, checked when metrics are logged; 0: never.
        keep_last: number of newest checkpoints to keep, in addition to the best one.
        best_metric: metric of the best checkpoint, such as ``val/iou`` for data sets of shapes, ``val/mask_iou`` or
            ``val/ssim`` for image collections, and ``val/joint_pi6`` for recognisers.
        best_is: "max" or "min": whether a higher or a lower value is better.
    """

    num_epochs: int = 80
    num_steps: int = 0
    log_every: int = field(default=20, metadata=FREE)
    eval_every: int = field(default=500, metadata=FREE)
    panel_every: int = field(default=0, metadata=FREE)
    checkpoint_every: int = field(default=250, metadata=FREE)
    checkpoint_every_s: float = field(default=0.0, metadata=FREE)
    keep_last: int = field(default=2, metadata=FREE)
    best_metric: str = field(default="val/iou", metadata=FREE)
    best_is: Literal["max", "min"] = field(default="max", metadata=FREE)

    def __post_init__(self) -> None:
        if self.num_steps < 0 or (self.num_steps == 0 and self.num_epochs < 1):
            raise ConfigError("schedule has neither steps nor epochs", "set schedule.num_steps or schedule.num_epochs")
        if min(self.log_every, self.checkpoint_every, self.keep_last) < 1:
            raise ConfigError("schedule.log_every, checkpoint_every and keep_last must be at least 1", "raise them")
        if self.checkpoint_every_s < 0:
            raise ConfigError(
                f"schedule.checkpoint_every_s is {self.checkpoint_every_s}", "use seconds, or 0 for steps alone"
            )
        if min(self.eval_every, self.panel_every) < 0:
            raise ConfigError("schedule.eval_every and panel_every must be 0 or more", "0 means only at the end")
