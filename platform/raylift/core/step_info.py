"""Position in training, as schedules, models and random draws read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepInfo:
    """One moment of a run.

    Attributes:
        step: optimizer steps finished before this one; the first step sees 0.
        num_steps: steps of the whole run.
        epoch: passes over the training set finished before this step's first sample.
        seed: seed of the run.
    """

    step: int
    num_steps: int
    epoch: int = 0
    seed: int = 0

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, in [0, 1]."""
        return self.step / max(1, self.num_steps)

    def is_due(self, every: int) -> bool:
        """Whether something that happens every ``every`` steps is due after this step; 0 is never."""
        return every > 0 and (self.step + 1) % every == 0
