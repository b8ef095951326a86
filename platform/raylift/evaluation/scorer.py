"""What scores the samples of one evaluation: one contract for every kind of data set."""

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
    """Scores of one rank's share of the samples, one after another.

    Attributes:
        notes: what a reader must know; complete once ``finish`` has run.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    @abstractmethod
    def request(self, wanted: SampleRequest) -> SampleRequest:
        """What evaluation samples carry for a model that wants this for training."""

    def prepare(self, model: ReconstructionModel, split: str) -> None:
        """Learn from the model's answers to training samples what scoring needs; every rank calls it, before ``score``.

        Args:
            model: in eval mode.
            split: that will be scored.
        """
        del model, split

    @abstractmethod
    def score(self, sample: str, reconstruction: Reconstruction, solid: Solid) -> Values:
        """Scores of the model's reconstruction.

        Args:
            sample: ``object_id#view``; samples come in the order of their objects.
            reconstruction: its camera, on the CPU.
            solid: what it is measured as.
        """

    @abstractmethod
    def score_baselines(self, sample: str, picture: Batch) -> Mapping[str, Values]:
        """Scores of the baselines for the sample that was scored last, by their names.

        Args:
            picture: the sample as the model saw it (B = 1).
        """

    def finish(self, whole: Tally) -> None:
        """Add to everybody's scores what can only be known of all samples together.

        Every rank calls it with the same tally of all ranks, and all do the same to it.
        """
        del whole
