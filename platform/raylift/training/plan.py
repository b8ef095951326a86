"""What a run of the loop is told: how to optimise, how long, where checkpoints go, and whose run it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from raylift.config.optimizers import OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.model import Model
from raylift.training.checkpoint import CheckpointStore


@dataclass(frozen=True)
class RunIdentity:
    """What checkpoints say of their run. A checkpoint of another run is refused.

    Attributes:
        recipe: as plain values.
        free_paths: dotted paths of the recipe that a resumed run may change.
        data: fingerprint of the data set.
        info: what the model was told about the data set.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    free_paths: Sequence[str] = ()
    data: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitPlan:
    """One run of the loop, the same on every rank.

    Attributes:
        optimizers: by parameter group; "default" for groups that it does not name.
        schedule: how long the run is and how often it stops to look.
        num_steps: length of the run (default: ``schedule.num_steps``).
        epoch_of: step -> passes over the training set finished before it.
        seed: every random draw follows from it.
        checkpoints: where checkpoints go; None keeps none.
        identity: see ``RunIdentity``.
        init_fn: changes the fresh model before the first step; not called when resuming from a checkpoint.
        device: where to train.
        bf16: bfloat16 autocast of the forward pass.
    """

    optimizers: Mapping[str, OptimizerConfig]
    schedule: ScheduleConfig
    num_steps: int = 0
    epoch_of: Callable[[int], int] = lambda step: 0
    seed: int = 0
    checkpoints: CheckpointStore | None = None
    identity: RunIdentity = field(default_factory=RunIdentity)
    init_fn: Callable[[Model], None] | None = None
    device: torch.device | str = "cpu"
    bf16: bool = False

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.num_steps or self.schedule.num_steps
