"""Feed: samples a second through Ray Data against a torch DataLoader on the same shards, with 1 and 2 loaders.

    PYTHONPATH=platform python tests/benchmarks/feed.py [DATA] [--steps 60]

Without DATA it prepares a few procedural chairs. All feeds give the same batches
(tests/data/test_feed.py), so the ratios compare the way, not the work. Start-up is timed apart: the
first batch ends it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from raylift.config.data import DataConfig
from raylift.core.types import Batch, SampleRequest, VoxelRequest
from raylift.data.feed.batches import Sample, collate
from raylift.data.feed.pipeline import ray_batches
from raylift.data.feed.stream import SampleStream
from raylift.data.prepare.ingest import ingest
from raylift.data.ray_session import start_ray
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset


class StreamRows(Dataset[Sample]):
    """The stream as torch's map-style data set."""

    def __init__(self, stream: SampleStream, num_rows: int) -> None:
        self.stream, self.num_rows = stream, num_rows

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, index: int) -> Sample:
        torch.set_num_threads(1)
        return self.stream.sample(index)


def loader_batches(stream: SampleStream, steps: int, loaders: int) -> Iterator[Batch]:
    """The stream through a torch DataLoader of so many worker processes."""
    size = stream.config.batch_size
    rows = StreamRows(stream, steps * size)
    yield from DataLoader(rows, size, num_workers=loaders, collate_fn=collate, prefetch_factor=4)


def timed(batches: Iterable[Batch], batch_size: int) -> tuple[float, float]:
    """Seconds to the first batch, and samples a second after it."""
    start = time.perf_counter()
    count, first = 0, 0.0
    for _ in batches:
        count += 1
        first = first or time.perf_counter() - start
    return first, (count - 1) * batch_size / (time.perf_counter() - start - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data
        if data is None:
            ingest([ProceduralSource(24)], scratch, TINY, parallel="none")
            data = scratch
        start_ray()
        request = SampleRequest(64, 1024, VoxelRequest("visible"))

        def fresh() -> SampleStream:
            """Each way starts with an empty cache of its own."""
            return SampleStream(ShardedDataset.open(data), request, DataConfig(arguments.batch_size), seed=0)

        ways = {"in the training process": lambda: fresh().batches(0, 1, 0, arguments.steps)}
        for count in (1, 2):
            ways[f"torch DataLoader, {count}"] = lambda count=count: loader_batches(fresh(), arguments.steps, count)
            ways[f"Ray Data, {count}"] = lambda count=count: ray_batches(fresh(), 0, 1, 0, arguments.steps, count)
        rates = {}
        print(f"{arguments.steps} batches of {arguments.batch_size}, 64^2 image, 1024 points, 32^3 visible voxels")
        for name, make in ways.items():
            first, rates[name] = timed(make(), arguments.batch_size)
            print(f"{name:28s} {rates[name]:8.0f} samples/s, first batch after {first:.2f} s", flush=True)
        print(f"ratio of 2 loaders to 1, Ray Data: {rates['Ray Data, 2'] / rates['Ray Data, 1']:.2f}")
        for count in (1, 2):
            ratio = rates[f"Ray Data, {count}"] / rates[f"torch DataLoader, {count}"]
            print(f"ratio Ray Data / torch DataLoader, {count} loaders each: {ratio:.2f}")


if __name__ == "__main__":
    main()
