"""Status of a run, which workers post and the driver reads: progress, and errors that no retry fixes."""

from __future__ import annotations

from typing import Any

import ray

from raylift.core.errors import RayliftError
from raylift.training.loop import RunProgress


class RunStatusActor:
    """An actor without CPUs. It outlives workers, so a restarted one learns why its predecessor stopped."""

    def __init__(self) -> None:
        self._reports: list[RunProgress] = []
        self._failure: RayliftError | None = None
        self._num_starts = 0

    def note_start(self) -> RayliftError | None:
        """Count a start of a worker group; returns the error that already ended the run, if any."""
        self._num_starts += 1
        return self._failure

    def post(self, report: RunProgress) -> None:
        self._reports.append(report)

    def take(self) -> list[RunProgress]:
        """The reports since the last call."""
        taken, self._reports = self._reports, []
        return taken

    def fail(self, error: RayliftError) -> None:
        """Record that the run must not continue; the first error counts, since others follow from it."""
        self._failure = self._failure or error

    def failure(self) -> RayliftError | None:
        return self._failure

    def num_starts(self) -> int:
        """Number of starts of rank 0: 1 more than the restarts."""
        return self._num_starts


def open_board() -> Any:
    """A handle to a new status actor."""
    return ray.remote(num_cpus=0)(RunStatusActor).remote()
