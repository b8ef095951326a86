"""Where the workers of a run say how it goes, and the driver reads it: progress, and errors that no retry mends."""

from __future__ import annotations

from typing import Any

import ray

from raylift.core.errors import RayliftError
from raylift.training.loop import RunProgress


class RunStatusActor:
    """Lives in an actor of no CPUs. It outlives workers, so a restarted one learns why its predecessor stopped."""

    def __init__(self) -> None:
        self._reports: list[RunProgress] = []
        self._failure: RayliftError | None = None
        self._num_starts = 0

    def note_start(self) -> RayliftError | None:
        """A worker group starts; gives the error that already ended the run, if one did."""
        self._num_starts += 1
        return self._failure

    def post(self, report: RunProgress) -> None:
        self._reports.append(report)

    def take(self) -> list[RunProgress]:
        """The reports since the last call."""
        taken, self._reports = self._reports, []
        return taken

    def fail(self, error: RayliftError) -> None:
        """The run must not go on; the first error counts, since others follow from it."""
        self._failure = self._failure or error

    def failure(self) -> RayliftError | None:
        return self._failure

    def num_starts(self) -> int:
        """Times that rank 0 started: 1 more than the restarts."""
        return self._num_starts


def open_board() -> Any:
    """A handle of a new board."""
    return ray.remote(num_cpus=0)(RunStatusActor).remote()
