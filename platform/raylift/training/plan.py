"""The settings of a run of the loop: optimizers, length, checkpoints and identity."""

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
    """What checkpoints record about their run. A checkpoint of another run is refused.

    Attributes:
        recipe: the recipe as plain values.
        free_paths: dotted paths of the recipe that a resumed run may change.
        data: fingerprint of the data set.
        info: facts about the data set that the model was built for.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    free_paths: Sequence[str] = ()
    data: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FitPlan:
    """One run of the loop, the same on every rank.

    Attributes:
        optimizers: optimizer by parameter group; "default" for groups that are not named.
        schedule: length and intervals of the run.
        num_steps: length of the run (default: ``schedule.num_steps``).
        epoch_of: step -> passes over the training set finished before it.
        seed: seed of every random draw.
        checkpoints: store of the run's checkpoints; None writes none.
        identity: see ``RunIdentity``.
        init_fn: called on the fresh model before the first step; not called when resuming from a checkpoint.
        device: device to train on.
        bf16: whether the forward pass uses bfloat16 autocast.
        batch_size: samples per global batch, for averages whose half-life is in images; 0 if no group has one.
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
    batch_size: int = 0

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.num_steps or self.schedule.num_steps
