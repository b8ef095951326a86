"""The prefetch thread: the feed's batches in its order, its errors at their step, and an end in every case."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from raylift.core.types import Batch
from raylift.training.prefetch import prefetched
from tests.training.toy import feed

CPU = torch.device("cpu")
LONG_S = 60.0


def _names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_batches_are_the_feeds_in_its_order() -> None:
    with prefetched(lambda: feed()(0, 7), CPU) as batches:
        found = list(batches)
    for ours, theirs in zip(found, feed()(0, 7), strict=True):
        assert ours.ids == theirs.ids
        assert all(torch.equal(ours[name], value) for name, value in theirs.fields.items())
    assert "batch-prefetch" not in _names()


def test_the_next_batch_is_assembled_during_a_step() -> None:
    second = threading.Event()

    def noted() -> Iterator[Batch]:
        first, following = feed()(0, 2)
        yield first
        second.set()
        yield following

    with prefetched(noted, CPU) as batches:
        next(batches)
        assert second.wait(LONG_S), "nobody asked for the second batch, and it was not assembled"


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_an_error_of_the_feed_is_raised_at_its_step(kind: type[BaseException]) -> None:
    def failing() -> Iterator[Batch]:
        yield from feed()(0, 2)
        raise kind("step 2")

    with prefetched(failing, CPU) as batches:
        assert len(next(batches)) == len(next(batches)) == 6
        with pytest.raises(kind, match="step 2"):
            next(batches)
    assert "batch-prefetch" not in _names()


def test_a_feed_that_cannot_start_is_an_error_of_the_loop() -> None:
    def broken() -> Iterator[Batch]:
        raise ValueError("no such shard")

    with pytest.raises(ValueError, match="no such shard"), prefetched(broken, CPU) as batches:
        next(batches)


def test_leaving_early_closes_the_feed_and_ends_the_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[Batch]:
        try:
            while True:
                yield from feed()(0, 3)
        finally:
            closed.set()

    with prefetched(endless, CPU) as batches:
        assert len(next(batches)) == 6
    assert closed.is_set()
    assert "batch-prefetch" not in _names()


@pytest.mark.gpu
def test_batches_arrive_on_the_gpu_whole() -> None:
    with prefetched(lambda: feed()(0, 50), torch.device("cuda")) as batches:
        sums = [(batch["x"] * 2).sum() for batch in batches]
    assert torch.allclose(torch.stack(sums).cpu(), torch.stack([(one["x"] * 2).sum() for one in feed()(0, 50)]))
