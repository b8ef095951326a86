"""CPU time by stage, measured by whoever holds the stopwatch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """CPU seconds of named stages, of all threads of this process.

    What a GPU does is not in them, only that it was asked to.

    Attributes:
        seconds: by stage, in the order in which they ended first.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the CPU time of a block to a stage; one block within another counts for both."""
        start = time.process_time()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - start
