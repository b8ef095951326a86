"""A few steps of a model by the real loop, in this process: whole, or killed and resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from raylift.config.recipe import Recipe
from raylift.core.model import Model
from raylift.core.types import Batch
from raylift.testing.batches import rows_of
from raylift.tracking.tracker import MemoryTracker
from raylift.training.checkpoint import Checkpoint, CheckpointStore
from raylift.training.loop import Hooks, fit
from raylift.training.plan import FitPlan, RunIdentity

CHECKPOINT_EVERY = 2


class _Killed(Exception):
    """The end of a run that was stopped before its last step."""


@dataclass(frozen=True)
class ShortRun:
    """What is left of a run.

    Attributes:
        metrics: by step, all that was logged but wall times.
        state: the model's ``state_dict``.
        checkpoint: the last one; None where none was kept.
    """

    metrics: dict[int, dict[str, float]]
    state: dict[str, Tensor]
    checkpoint: Checkpoint | None


def short_run(
    model: Model,
    batch: Batch,
    recipe: Recipe,
    num_steps: int,
    *,
    init_fn: Callable[[Model], None] | None = None,
    folder: Path | None = None,
    killed_at: int | None = None,
) -> ShortRun:
    """Train for a few steps, from the last checkpoint in ``folder`` where there is one, and log each.

    Args:
        model: fresh, float32.
        batch: what steps take their samples from: two in three of them, from the next place at each step.
        recipe: optimizers, seed, and what checkpoints say.
        init_fn: of a run that begins.
        folder: of checkpoints, one every two steps.
        killed_at: the step whose batch never comes.
    """
    count = -(-2 * len(batch) // 3)

    def feed(start: int, stop: int) -> Iterator[Batch]:
        for step in range(start, stop):
            if step == killed_at:
                raise _Killed
            yield rows_of(batch, [(step * count + row) % len(batch) for row in range(count)])

    store = None if folder is None else CheckpointStore(folder)
    tracker = MemoryTracker()
    schedule = replace(
        recipe.schedule, num_steps=num_steps, log_every=1, checkpoint_every=CHECKPOINT_EVERY, eval_every=0
    )
    plan = FitPlan(
        recipe.optimizers,
        schedule,
        # Every step is an epoch, so that what begins after some does.
        epoch_of=lambda step: step,
        seed=recipe.seed,
        checkpoints=store,
        identity=RunIdentity(recipe.to_dict()),
        init_fn=init_fn,
        batch_size=count,
    )
    with contextlib.suppress(_Killed):
        fit(model, feed, plan, Hooks(tracker=tracker))
    last = None if store is None else store.last()
    return ShortRun(
        {step: _without_times(metrics) for step, metrics in tracker.metrics},
        {name: value.detach().clone() for name, value in model.state_dict().items()},
        None if store is None or last is None else store.read(last),
    )


def run_differences(whole: ShortRun, before: ShortRun, resumed: ShortRun) -> list[str]:
    """How a run that was killed and resumed differs from the whole one, a sentence each; bit by bit."""
    told = []
    for step, expected in whole.metrics.items():
        for part in (before, resumed):
            for name, value in part.metrics.get(step, {}).items():
                if value != expected.get(name):
                    told.append(f"step {step}, {name}: {expected.get(name)} in one go, {value} when killed and resumed")
        if step not in before.metrics and step not in resumed.metrics:
            told.append(f"step {step} was logged in one go and not when killed and resumed")
    told += [
        f"{name} of the last state differs"
        for name, tensor in whole.state.items()
        if not torch.equal(tensor, resumed.state[name])
    ]
    if whole.checkpoint is not None and resumed.checkpoint is not None:
        told += _tree_differences(whole.checkpoint.groups, resumed.checkpoint.groups, "group")
    return told


def _without_times(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if not name.startswith("throughput/")}


def _tree_differences(one: Any, other: Any, where: str) -> list[str]:
    """Of optimizer states: mappings and sequences of tensors and scalars."""
    if isinstance(one, Mapping):
        if sorted(map(str, one)) != sorted(map(str, other)):
            return [f"{where} has other entries"]
        return [text for key in one for text in _tree_differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{where} has another length"]
        pairs = enumerate(zip(one, other, strict=True))
        return [text for index, pair in pairs for text in _tree_differences(*pair, f"{where}.{index}")]
    same = torch.equal(one, other) if isinstance(one, Tensor) else one == other
    return [] if same else [f"{where} differs"]
