"""Status of a run, which workers post and the driver reads: progress, and errors that no retry fixes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raylift.core.errors import RayliftError
from raylift.training.loop import RunProgress

logger = logging.getLogger(__name__)

ANSWER_S = 60.0
"""How long to wait for the actor, which answers in milliseconds, before the run goes on without it."""


class RunStatusActor:
    """What ``StatusBoard`` talks to. It outlives workers, so a restarted one learns why its predecessor stopped."""

    def __init__(self) -> None:
        self._reports: list[RunProgress] = []
        self._failure: RayliftError | None = None
        self._num_starts = 0

    def note_start(self) -> RayliftError | None:
        self._num_starts += 1
        return self._failure

    def post(self, report: RunProgress) -> None:
        self._reports.append(report)

    def take(self) -> list[RunProgress]:
        taken, self._reports = self._reports, []
        return taken

    def fail(self, error: RayliftError) -> None:
        # The first error counts, since others follow from it.
        self._failure = self._failure or error

    def failure(self) -> RayliftError | None:
        return self._failure

    def num_starts(self) -> int:
        return self._num_starts


@dataclass(frozen=True)
class StatusBoard:
    """The status of a run, in an actor on the driver's node: it can only be lost with the driver, or by itself.

    An actor that dies is started again, empty. No call fails because of it: progress that was not read yet is lost,
    and an error is posted again by the next worker group that meets it.

    Attributes:
        actor: handle of a ``RunStatusActor``.
    """

    actor: Any

    @staticmethod
    def open() -> StatusBoard:
        """The board of a new run. The actor uses no CPU."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        make = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3, scheduling_strategy=here)
        return StatusBoard(make(RunStatusActor).remote())

    def note_start(self) -> RayliftError | None:
        """Count a start of a worker group; returns the error that already ended the run, if any."""
        error: RayliftError | None = self._ask("note_start", None)
        return error

    def post(self, report: RunProgress) -> None:
        """Report progress, without waiting."""
        self.actor.post.remote(report)

    def take(self) -> list[RunProgress]:
        """The reports since the last call."""
        reports: list[RunProgress] = self._ask("take", [])
        return reports

    def fail(self, error: RayliftError) -> None:
        """Record that the run must not continue."""
        self._ask("fail", None, error)

    def failure(self) -> RayliftError | None:
        """The error that ended the run, if any."""
        error: RayliftError | None = self._ask("failure", None)
        return error

    def num_starts(self) -> int:
        """Number of starts of rank 0, 1 more than the restarts; fewer if the actor was started again."""
        return max(1, int(self._ask("num_starts", 1)))

    def close(self) -> None:
        """End the actor."""
        ray.kill(self.actor)

    def _ask(self, method: str, otherwise: Any, *arguments: Any) -> Any:
        """The actor's answer; ``otherwise`` if it is gone and was not started again in time."""
        try:
            return ray.get(getattr(self.actor, method).remote(*arguments), timeout=ANSWER_S)
        except (RayActorError, GetTimeoutError) as error:
            logger.warning("the run's status cannot be reached, training goes on: %s", str(error).split("\n")[0])
            return otherwise
