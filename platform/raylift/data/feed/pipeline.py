"""The stream's batches through Ray Data: reading, decoding and sampling run alongside the training worker.

The pipeline is built *inside* each training worker, for that worker's rows of the remaining steps. A worker knows its
checkpoint, so resuming means starting at another step; and a row is a pure function of its index, so the batches equal
those of ``SampleStream.batches`` to the last bit, whatever the number of workers and loaders. Ray Data's own splitting
and shuffling, whose order depends on both, are not used. Ray Data replaces a loader that dies and runs its task again,
which makes the same batches.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from raylift.core.types import Batch
from raylift.data.feed.batches import batch_of, stack
from raylift.data.feed.read_ahead import ShardsAhead
from raylift.data.feed.stream import SampleStream
from raylift.data.ray_session import quiet_data_context, start_ray

_STEPS_A_TASK = 4
"""Few enough that the first batch arrives soon, many enough that task scheduling costs little in comparison."""

_TASKS_A_PIPELINE = 4096
"""Ray Data lists a pipeline's tasks at its start: a long run is a chain of pipelines, so that its start does not wait
for the list of the whole run."""

_REQUESTS_AT_ONCE = 8
"""Samples that one loader reads at the same time from an object store, where reading is mostly waiting."""


class _RowLoader:
    """Runs in a Ray actor, so that the cache of decoded shards persists across epochs."""

    def __init__(self, stream: SampleStream, rank: int, world: int) -> None:
        import torch

        torch.set_num_threads(1)
        self._stream, self._rank, self._world = stream, rank, world
        self._ahead = ShardsAhead(stream)
        waits = not stream.dataset.storage.is_local and stream.dataset.shard_cache is None
        # Either way in order, whichever sample arrives first.
        self._map = ThreadPoolExecutor(_REQUESTS_AT_ONCE).map if waits else map

    def __call__(self, groups: dict[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        """One row per step, holding its stacked samples as bytes, for groups of consecutive steps.

        Grids of different sizes do not fit a rectangular column, and one cell per step costs Ray less than one per
        field.
        """
        for first, stop in zip(groups["first_step"], groups["stop_step"], strict=True):
            steps = range(int(first), int(stop))
            rows = [self._stream.rows_of(step, self._rank, self._world) for step in steps]
            self._ahead.note(rows[-1].stop)
            samples = iter(self._map(self._stream.sample, [index for part in rows for index in part]))
            for step, part in zip(steps, rows, strict=True):
                packed = pickle.dumps(stack([next(samples) for _ in part]), protocol=pickle.HIGHEST_PROTOCOL)
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
    node_labels: Mapping[str, str] | None = None,
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
        node_labels: labels of the loaders' nodes; None or empty lets Ray Data choose.
    """
    if start_step >= stop_step:
        return
    start_ray()
    stream.rows_of(start_step, rank, world)  # raises for a too small batch here, not in an actor
    for groups in pipelines(start_step, stop_step):
        yield from _loaded(groups, (stream, rank, world), num_loaders, cpus_per_loader, prefetch, node_labels)


def pipelines(start_step: int, stop_step: int) -> Iterator[pa.Table]:
    """The tasks of each pipeline of the chain, in order: the first step of each, and the step after its last."""
    length = _STEPS_A_TASK * _TASKS_A_PIPELINE
    for first in range(start_step, stop_step, length):
        firsts = np.arange(first, min(first + length, stop_step), _STEPS_A_TASK)
        yield pa.table({"first_step": firsts, "stop_step": np.minimum(firsts + _STEPS_A_TASK, stop_step)})


def _loaded(
    groups: pa.Table,
    arguments: tuple[SampleStream, int, int],
    num_loaders: int,
    cpus_per_loader: float,
    prefetch: int,
    node_labels: Mapping[str, str] | None,
) -> Iterator[Batch]:
    import ray
    from ray.data import ActorPoolStrategy

    quiet_data_context()
    tasks = ray.data.from_arrow(groups)
    # Every row is a block of its own, at once: a group for the next free loader, and then a step for the trainer.
    tasks.context.target_max_block_size = 1
    # It takes no CPU, since training may hold all that the loaders leave.
    loaded = tasks.map_batches(_singly, batch_size=None, num_cpus=0).map_batches(
        _RowLoader,
        fn_constructor_args=arguments,
        batch_size=1,
        compute=ActorPoolStrategy(size=num_loaders),
        num_cpus=cpus_per_loader,
        label_selector=dict(node_labels) if node_labels else None,
    )
    for rows in loaded.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=prefetch):
        yield batch_of(pickle.loads(rows["stacked"][0]))


def _singly(groups: dict[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for index in range(len(groups["first_step"])):
        yield {name: values[index : index + 1] for name, values in groups.items()}
