"""Interface for scoring the samples of one evaluation, for every kind of data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, Reconstruction, SampleRequest
from raylift.evaluation.meshes import Solid
from raylift.evaluation.report import Tally

Values = dict[str, float]
"""Scores of one sample by metric: ``occnet/iou``, ``input/ssim``."""


class Scorer(ABC):
    """Scores one rank's share of the samples, one after another.

    Attributes:
        notes: remarks for the reader; complete once ``finish`` has run.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def request(self, wanted: SampleRequest) -> SampleRequest:
        """The request of evaluation samples, for a model that requests ``wanted`` for training."""

    def prepare(self, model: ReconstructionModel, split: str) -> None:
        """Fit what scoring needs to the model's predictions on training samples; every rank calls it before ``score``.

        Args:
            model: model in eval mode.
            split: split that will be scored.
        """
        del model, split

    def placed(self, sample: str, solid: Solid) -> Solid:
        """The shape to score and to draw: as it is, or where a scorer moves it."""
        del sample
        return solid

    @abstractmethod
    def score(self, sample: str, reconstruction: Reconstruction, solid: Solid) -> Values:
        """Scores of the model's reconstruction.

        Args:
            sample: ``object_id#view``; samples come in the order of their objects.
            reconstruction: reconstruction, with its camera on the CPU.
            solid: shape to measure.
        """

    @abstractmethod
    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        """Scores of the baselines for the last scored sample, by baseline name.

        Args:
            picture: sample as the model saw it (B = 1).
        """

    def finish(self, whole: Tally) -> None:
        """Add scores that depend on all samples together.

        Every rank calls it with the same tally of all ranks, and all modify it in the same way.
        """
        del whole
