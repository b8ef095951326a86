"""The stream's batches through Ray Data: reading, decoding and sampling run alongside the training worker.

The pipeline is built *inside* each training worker, for that worker's rows of the remaining steps. A worker knows its
checkpoint, so resuming means starting at another step; and a row is a pure function of its index, so the batches equal
those of ``SampleStream.batches`` to the last bit, whatever the number of workers. Ray Data's own splitting and
shuffling, whose order depends on both, are not used.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np

from raylift.core.types import Batch
from raylift.data.feed.batches import batch_of, stack
from raylift.data.feed.stream import SampleStream
from raylift.data.ray_session import quiet_data_context, start_ray

_STEPS_A_TASK = 4
"""Few enough that the first batch arrives soon, many enough that task scheduling costs little in comparison."""


class _RowLoader:
    """Runs in a Ray actor, so that the cache of decoded shards persists across epochs."""

    def __init__(self, stream: SampleStream, rank: int, world: int) -> None:
        import torch

        torch.set_num_threads(1)
        self._stream, self._rank, self._world = stream, rank, world

    def __call__(self, groups: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        """One row per step, holding its stacked samples as bytes, for groups of consecutive steps.

        Grids of different sizes do not fit a rectangular column, and one cell per step costs Ray less than one per
        field.
        """
        for first, stop in zip(groups["first_step"], groups["stop_step"], strict=True):
            for step in range(int(first), int(stop)):
                rows = self._stream.rows_of(step, self._rank, self._world)
                samples = [self._stream.sample(index) for index in rows]
                packed = pickle.dumps(stack(samples), protocol=pickle.HIGHEST_PROTOCOL)
                yield {"step": np.array([step]), "stacked": np.array([packed], object)}


def ray_batches(
    stream: SampleStream,
    rank: int,
    world: int,
    start_step: int,
    stop_step: int,
    num_loaders: int = 1,
    cpus_per_loader: float = 0.25,
    prefetch: int = 4,
) -> Iterator[Batch]:
    """A rank's batches of steps [start_step, stop_step), equal to ``stream.batches`` with the same arguments.

    Args:
        stream: stream to read.
        rank: rank of the calling training worker.
        world: number of training workers.
        start_step: first step.
        stop_step: step after the last.
        num_loaders: Ray actors that load for this worker; any number preserves the order.
        cpus_per_loader: CPUs that each actor requests from the cluster; training must leave them free.
        prefetch: batches loaded ahead.
    """
    if start_step >= stop_step:
        return
    import ray
    from ray.data import ActorPoolStrategy

    start_ray()
    stream.rows_of(start_step, rank, world)  # raises for a too small batch here, not in an actor
    groups = [
        {"first_step": first, "stop_step": min(first + _STEPS_A_TASK, stop_step)}
        for first in range(start_step, stop_step, _STEPS_A_TASK)
    ]
    quiet_data_context()
    loaded = ray.data.from_items(groups, override_num_blocks=len(groups)).map_batches(
        _RowLoader,
        fn_constructor_args=(stream, rank, world),
        batch_size=1,
        compute=ActorPoolStrategy(size=num_loaders),
        num_cpus=cpus_per_loader,
    )
    for rows in loaded.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=prefetch):
        yield batch_of(pickle.loads(rows["stacked"][0]))
