"""Batches one step ahead: a thread assembles the next one, and on CUDA copies it to the device, during a step.

The batches and their order are those of the feed, bit by bit. An error of the feed is raised in the loop, at the step
whose batch it is, and leaving the block ends the thread, whatever it is doing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from raylift.core.types import Batch

AHEAD = 1
"""Finished batches that wait; while the thread works on the next, the device holds up to three."""
_POLL_S = 0.1
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class _Loaded:
    """A batch on its device, and the event of its last copy; or the error that came instead, or neither at the end."""

    batch: Batch | None = None
    copied: torch.cuda.Event | None = None
    error: BaseException | None = None


@contextmanager
def prefetched(
    feed: Callable[[], Iterator[Batch]], device: torch.device, ahead: int = AHEAD
) -> Iterator[Iterator[Batch]]:
    """The feed's batches on a device, loaded ahead by a thread; usable within the block.

    Args:
        feed: starts the batches; called, read and closed in the thread.
        device: where the batches are wanted.
        ahead: finished batches that may wait.
    """
    loader = _Loader(feed, device, ahead)
    try:
        yield loader.batches()
    finally:
        loader.end()


class _Loader:
    def __init__(self, feed: Callable[[], Iterator[Batch]], device: torch.device, ahead: int) -> None:
        self._feed, self._device = feed, device
        self._waiting: queue.Queue[_Loaded] = queue.Queue(ahead)
        self._is_over = threading.Event()
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._thread = threading.Thread(target=self._load, name="batch-prefetch", daemon=True)
        self._thread.start()

    def batches(self) -> Iterator[Batch]:
        """Batches in order, for the thread that trains.

        Raises:
            BaseException: what the feed raised instead of a batch.
        """
        while True:
            loaded = self._waiting.get()
            if loaded.error is not None:
                raise loaded.error
            if loaded.batch is None:
                return
            if loaded.copied is not None:
                _hand_over(loaded.batch, loaded.copied)
            yield loaded.batch

    def end(self) -> None:
        """Let the thread finish its batch, and wait for it; one that hangs in the feed ends with the process."""
        self._is_over.set()
        self._thread.join(_PATIENCE_S)

    def _load(self) -> None:
        batches: Iterator[Batch] = iter(())
        try:
            batches = self._feed()
            for batch in batches:
                if not self._offer(self._moved(batch)):
                    return
            self._offer(_Loaded())
        except BaseException as error:  # an interrupt raised by the feed belongs to the loop, too
            self._offer(_Loaded(error=error))
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    def _offer(self, loaded: _Loaded) -> bool:
        """Queue it; False if the block is left meanwhile."""
        while not self._is_over.is_set():
            try:
                self._waiting.put(loaded, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def _moved(self, batch: Batch) -> _Loaded:
        if self._stream is None:
            return _Loaded(batch.to(self._device))
        with torch.cuda.stream(self._stream):
            moved = batch.to(self._device)
            return _Loaded(moved, self._stream.record_event())


def _hand_over(batch: Batch, copied: torch.cuda.Event) -> None:
    """Make the training stream wait for the copies, and their memory for what that stream will do with it."""
    stream = torch.cuda.current_stream(batch.keys.device)
    stream.wait_event(copied)
    for tensor in batch.tensors():
        tensor.record_stream(stream)
