"""Shards in an object store: bytes and requests per sample, with and without the cache on the node's disk.

    PYTHONPATH=platform python tests/benchmarks/shards.py [DATA] [--latency-ms 25] [--window 4]

A local S3 server (moto) answers each request after a fixed latency and counts what it sends. The loader is the one that
training runs, in this process. "one by one" reads each object when its turn comes; "8 at once" is what a loader does
without a disk cache; "cold" and "warm" are the first and the second epoch of a shuffle window with the disk cache, each
with an empty memory cache. DATA is a prepared data set; without it, procedural chairs are made.
"""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raylift.config.data import DataConfig
from raylift.core.types import SampleRequest, VoxelRequest
from raylift.data.feed.pipeline import _RowLoader
from raylift.data.feed.stream import SampleStream
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.shard_cache import ShardCache

BATCH = 8


class Counter:
    """Wraps a WSGI application: waits, and counts requests and bytes sent."""

    def __init__(self, application: Callable[..., Iterable[bytes]], latency_s: float) -> None:
        self.application, self.latency_s = application, latency_s
        self.requests, self.num_bytes = 0, 0
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        time.sleep(self.latency_s)
        with self._lock:
            self.requests += 1
        for block in self.application(environ, start):
            with self._lock:
                self.num_bytes += len(block)
            yield block

    def take(self) -> tuple[int, int]:
        found = self.requests, self.num_bytes
        self.requests = self.num_bytes = 0
        return found


@contextmanager
def store(latency_s: float) -> Iterator[Counter]:
    """An S3 server in a thread, whose address is in the environment."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    counter = Counter(DomainDispatcherApplication(create_backend_app), latency_s)
    server = make_server("127.0.0.1", port, counter, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ.update(
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
    )
    yield counter
    server.shutdown()


def upload(folder: Path) -> str:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="shards")
    for path in folder.iterdir():
        if path.suffix in (".json", ".parquet"):
            client.put_object(Bucket="shards", Key=f"set/{path.name}", Body=path.read_bytes())
    return "s3://shards/set"


def epoch(stream: SampleStream, number: int, at_once: bool = True) -> tuple[float, int]:
    """Seconds of an epoch, and its samples."""
    loader = _RowLoader(stream, 0, 1)
    if not at_once:
        loader._map = map  # type: ignore[assignment]
    steps = stream.num_objects // BATCH
    started = time.perf_counter()
    for first in range(number * steps, (number + 1) * steps, 4):
        stop = min(first + 4, (number + 1) * steps)
        for _ in loader({"first_step": np.array([first]), "stop_step": np.array([stop])}):
            pass
    return time.perf_counter() - started, steps * BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--latency-ms", type=float, default=25.0)
    parser.add_argument("--window", type=int, default=4)
    parser.add_argument("--image-px", type=int, default=64)
    parser.add_argument("--images-only", action="store_true", help="samples without points and grids")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch, store(0.0) as counter:
        data = Path(arguments.data or f"{scratch}/set")
        if arguments.data is None:
            ingest([ProceduralSource(48)], str(data), TINY, parallel="none")
        uri = upload(data)
        counter.take()
        counter.latency_s = arguments.latency_ms / 1000
        dataset = ShardedDataset.open(uri)
        print(f"opening {len(dataset.manifest.shards)} shards: {counter.take()[0]} requests")
        request = SampleRequest(arguments.image_px)
        if not arguments.images_only:
            request = SampleRequest(arguments.image_px, 1024, VoxelRequest("visible"))
        all_objects = len(dataset.entries("train"))
        for part in (4, 1):
            measure(dataset, request, arguments.window, all_objects // part, counter, f"{scratch}/{part}")


def measure(
    dataset: ShardedDataset, request: SampleRequest, window: int, objects: int, counter: Counter, folder: str
) -> None:
    """Print a line per way of reading, for so many training objects."""

    def fresh(cache: ShardCache | None) -> SampleStream:
        config = DataConfig(BATCH, max_objects=objects, shuffle_window=window)
        return SampleStream(dataset.reader(2 << 30, cache), request, config, seed=0)

    def report(name: str, stream: SampleStream, number: int, at_once: bool = True) -> None:
        counter.take()
        seconds, count = epoch(stream, number, at_once)
        requests, num_bytes = counter.take()
        print(
            f"  {name:12s} {count / seconds:7.1f} samples/s {num_bytes / count / 1e3:9.1f} kB/sample"
            f" {requests / count:6.2f} requests/sample {num_bytes / whole:6.2f} x the shards"
        )

    shards = {entry.shard for entry in dataset.entries("train")[:objects]}
    whole = sum(file.num_bytes for shard in shards for file in dataset.manifest.shards[shard])
    print(f"{objects} objects in {len(shards)} shards of {whole / 1e6:.1f} MB, window of {window}")
    report("one by one", fresh(None), 0, at_once=False)
    report("8 at once", fresh(None), 0)
    cache = ShardCache(Path(folder), 100 << 30)
    report("cold", fresh(cache), 0)
    report("warm", fresh(cache), 1)


if __name__ == "__main__":
    main()
