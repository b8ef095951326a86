"""Optimizer settings, and the available optimizers: a new one takes one line in ``OPTIMIZERS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from raylift.config.learning_rate import LearningRateConfig
from raylift.core.errors import ConfigError

DEFAULT_GROUP = "default"
"""Key of the optimizer for every parameter group that has none of its own."""


@dataclass(frozen=True)
class OptimizerConfig:
    """How one parameter group is optimised.

    Attributes:
        kind: a name in ``OPTIMIZERS``.
        learning_rate: the maximum that the schedule's factor multiplies.
        weight_decay: decoupled from the gradient with AdamW, added to it otherwise.
        betas: decay of Adam's moments; the first is SGD's momentum.
        clip_norm: global norm that the group's gradients are clipped to; 0 never clips.
        ema_decay: decay of the moving average of the parameters per update, used for evaluation; 0 keeps none.
        ema_half_life_images: the same as the number of training samples after which the average has forgotten half,
            whatever the batch size; 0 uses ema_decay. StyleGAN2-ADA's is 10,000.
        schedule: schedule of the learning rate.
    """

    kind: str = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    ema_half_life_images: int = 0
    schedule: LearningRateConfig = field(default_factory=LearningRateConfig)

    def __post_init__(self) -> None:
        if self.kind not in OPTIMIZERS:
            raise ConfigError(f"kind is {self.kind!r}", f"use one of {', '.join(OPTIMIZERS)}")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}", "use a positive rate")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}", "use a decay in [0, 1), such as 0.999")
        if self.ema_half_life_images < 0 or (self.ema_half_life_images and self.ema_decay):
            raise ConfigError(
                f"ema_half_life_images is {self.ema_half_life_images}, ema_decay {self.ema_decay}",
                "use a half-life of 0 or more, and set only one of the two",
            )
        if self.weight_decay < 0 or self.clip_norm < 0:
            raise ConfigError("weight_decay and clip_norm must be 0 or more", "0 turns either off")

    def average_decay(self, batch_size: int) -> float:
        """The decay of the moving average per update, in [0, 1); 0 keeps no average.

        Args:
            batch_size: samples per global batch; needed for a half-life in images alone.

        Raises:
            ConfigError: a half-life without a batch size.
        """
        if not self.ema_half_life_images:
            return self.ema_decay
        if batch_size < 1:
            raise ConfigError(
                "ema_half_life_images needs the size of the batch", "set FitPlan.batch_size, or use ema_decay"
            )
        return float(0.5 ** (batch_size / self.ema_half_life_images))

    def build(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters, at the maximum rate."""
        return OPTIMIZERS[self.kind](parameters, self)


def _fused(values: Sequence[nn.Parameter]) -> bool | None:
    """One kernel for all parameters, where there is one that can be told to change nothing (``ParameterGroup``)."""
    return True if all(value.device.type == "cuda" for value in values) else None


OPTIMIZERS: dict[str, Callable[[Sequence[nn.Parameter], OptimizerConfig], torch.optim.Optimizer]] = {
    "adamw": lambda values, c: torch.optim.AdamW(
        values, lr=c.learning_rate, betas=c.betas, weight_decay=c.weight_decay, fused=_fused(values)
    ),
    "adam": lambda values, c: torch.optim.Adam(
        values, lr=c.learning_rate, betas=c.betas, weight_decay=c.weight_decay, fused=_fused(values)
    ),
    "nadam": lambda values, c: torch.optim.NAdam(
        values, lr=c.learning_rate, betas=c.betas, weight_decay=c.weight_decay
    ),
    "sgd": lambda values, c: torch.optim.SGD(
        values, lr=c.learning_rate, momentum=c.betas[0], weight_decay=c.weight_decay
    ),
}
