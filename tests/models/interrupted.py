"""A run that is interrupted in the middle, as by Ctrl-C or a preempted machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from raylift.core.types import Batch


def interrupted(
    batches: Callable[[int, int], Iterator[Batch]], at_step: int | None
) -> Callable[[int, int], Iterator[Batch]]:
    """The same batches, which raise KeyboardInterrupt at a step; None never does."""

    def until_then(start: int, stop: int) -> Iterator[Batch]:
        for step, batch in zip(range(start, stop), batches(start, stop), strict=True):
            if step == at_step:
                raise KeyboardInterrupt
            yield batch

    return until_then
