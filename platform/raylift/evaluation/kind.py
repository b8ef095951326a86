"""Interface for the evaluation of a kind of data set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import ConfigError
from raylift.core.types import Mesh, Reconstruction, SampleRequest
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.scorer import Scorer
from raylift.evaluation.strips import Strip
from raylift.evaluation.validation import Validation


class EvaluationKind(ABC):
    """How one kind of data set is evaluated.

    Attributes:
        validated: validation metrics, without ``val/``; the first is the usual ``best_metric``.
    """

    validated: ClassVar[tuple[str, ...]]

    @abstractmethod
    def scorer(
        self,
        dataset: ShardedDataset,
        wanted: SampleRequest,
        config: EvaluationConfig,
        data: DataConfig,
        seed: int,
        split: str,
    ) -> Scorer:
        """The scorer of a split's full evaluation, for a model that requests ``wanted`` samples."""

    @abstractmethod
    def validation(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> Validation:
        """The quick validation during training, for a model that requests ``wanted`` samples."""

    @abstractmethod
    def strip(
        self, dataset: ShardedDataset, wanted: SampleRequest, found: Reconstruction, mesh: Mesh, image_px: int
    ) -> Strip:
        """A sample's image strip: the input, the reconstruction from the input's camera, then other views."""

    @abstractmethod
    def input_of(self, dataset: ShardedDataset, wanted: SampleRequest, sample: str) -> Strip:
        """The stored input image, RGBA, cropped as the model sees it."""

    def check_best_metric(self, name: str) -> None:
        """Check that the metric for choosing checkpoints is measured.

        Raises:
            ConfigError: it is not a validation metric.
        """
        known = [f"val/{metric}" for metric in self.validated]
        if name not in known:
            raise ConfigError(
                f"schedule.best_metric is {name}, which validation on this data set does not measure",
                f"set schedule.best_metric to one of {', '.join(known)}",
            )
