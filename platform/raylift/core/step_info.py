"""Where in training we are, as schedules, models and draws read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepInfo:
    """One moment of a run.

    Attributes:
        step: optimiser steps finished before this one; the first step sees 0.
        num_steps: the whole run's.
        epoch: passes over the training set finished before this step's first sample.
        seed: the run's.
    """

    step: int
    num_steps: int
    epoch: int = 0
    seed: int = 0

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return self.step / max(1, self.num_steps)

    def is_due(self, every: int) -> bool:
        """Whether something that happens every so many steps happens after this step."""
        return every > 0 and (self.step + 1) % every == 0
