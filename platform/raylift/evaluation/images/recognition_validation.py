"""Quick validation of a recogniser of objects while it trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core.errors import ConfigError, DataError
from raylift.core.model import ObjectRecogniser
from raylift.core.types import Batch
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import model_alarms
from raylift.evaluation.images.recognition_alarms import Seen, recognition_alarms
from raylift.evaluation.images.recognition_answers import answers_of, evidence_of, score_answer, truths_of
from raylift.evaluation.images.recognition_baselines import CONSTANT, RecognitionBaselines
from raylift.evaluation.images.recognition_data import RecognitionData
from raylift.evaluation.images.recognition_symmetries import AUTO, Symmetries
from raylift.evaluation.samples import over_samples
from raylift.metrics.scores import mean_of, median_of

logger = logging.getLogger(__name__)

MAX_TRAINING_IMAGES = 500
"""Maximum number of training images for the constant answer, evenly spread."""
SCORES = (
    "class_accuracy",
    "nll",
    "rotation_deg",
    "pose_pi6",
    "pose_pi18",
    "joint_pi6",
    "joint_pi18",
    "symmetric_deg",
    "symmetric_pi6",
    "symmetric_pi18",
    "amodal_iou",
    "visible_iou",
    "hidden_iou",
    "occluder_auc",
)
"""Means over the validation images that have them; class and pose without any help."""
MEDIANS = ("rotation_deg", "symmetric_deg")
OF_CONSTANT = ("class_accuracy", "pose_pi6", "pose_pi18", "symmetric_pi6", "amodal_iou")
"""Scores of the constant answer that are logged next to the model's."""


@dataclass(frozen=True)
class _Row:
    """Scores of one sample: the model's, the constant answer's, and what the model reports itself."""

    model: dict[str, float]
    constant: dict[str, float]
    reported: dict[str, float]
    seen: Seen


class RecognitionValidation:
    """Class, pose and outlines on the validation images, see ``images.recognition_metrics``.

    Next to ``val/pose_pi6`` is ``val/constant/pose_pi6``, the best constant answer. The model sees the images alone.

    Attributes:
        request: request of the validation samples.
        validated: validation metrics, without ``val/``.

    Args:
        model: the model to validate, or one of its recipe.
    """

    validated = (*SCORES, *(f"{name}_median" for name in MEDIANS))

    def __init__(
        self, dataset: ShardedDataset, model: ObjectRecogniser, config: EvaluationConfig, data: DataConfig, seed: int
    ) -> None:
        self._images = RecognitionData(dataset, data, model.categories, model.request)
        self.request = self._images.request("val")
        self._seed = seed
        self._symmetries = _symmetries(dataset, model, config, data)
        amodal = self.request.amodal and self._images.has_amodal("train")
        known = self._images.training_images(amodal, MAX_TRAINING_IMAGES)
        self._baselines = RecognitionBaselines(known, self._symmetries.by_index)

    def check_best_metric(self, name: str) -> None:
        """Check that the metric for choosing checkpoints is measured.

        Raises:
            ConfigError: it is not a validation metric.
        """
        known = [f"val/{metric}" for metric in self.validated]
        if name not in known:
            raise ConfigError(
                f"schedule.best_metric is {name}, which validation of a recogniser does not measure",
                f"set schedule.best_metric to one of {', '.join(known)}",
            )

    def scores(self, model: ObjectRecogniser, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        """Scores over all ranks' samples, those of the model itself (``Model.scores``), and alarms.

        Every rank calls it with its own share (which may be empty); all return the same numbers, however the samples
        are shared.
        """

        def score(batch: Batch) -> list[_Row]:
            reported = {name: values.tolist() for name, values in model.scores(batch).items()}
            categories = self._images.categories_of(batch.ids)
            truths = truths_of(batch, categories, len(model.categories), self._symmetries.by_index)
            answers = answers_of(model.recognise(evidence_of(batch)), batch["image"].shape[-1])
            rows = []
            for row, (answer, truth) in enumerate(zip(answers, truths, strict=True)):
                own = {name: values[row] for name, values in reported.items()}
                constant = score_answer(self._baselines.constant(None, truth), truth)
                rows.append(_Row(score_answer(answer, truth), constant, own, Seen.of(answer, truth)))
            return rows

        everyone = over_samples(model, batches, score)
        rows = [everyone[name] for name in sorted(everyone)]
        found = _means([row.model for row in rows], SCORES, prefix)
        found |= _means([row.constant for row in rows], OF_CONSTANT, f"{prefix}/{CONSTANT}")
        found |= {
            f"{prefix}/{name}_median": median_of([row.model[name] for row in rows if name in row.model])
            for name in MEDIANS
            if f"{prefix}/{name}" in found
        }
        names = dict.fromkeys(name for row in rows for name in row.reported)
        reported = {name: mean_of([row.reported[name] for row in rows]) for name in names}
        found |= {f"{prefix}/{name}": value for name, value in reported.items() if f"{prefix}/{name}" not in found}
        found[f"{prefix}/recognition_samples"] = float(len(rows))
        return found | model_alarms(reported) | recognition_alarms([row.seen for row in rows])


def _means(rows: list[dict[str, float]], names: Iterable[str], prefix: str) -> dict[str, float]:
    means: Mapping[str, float] = {name: mean_of([row[name] for row in rows if name in row]) for name in names}
    return {f"{prefix}/{name}": value for name, value in means.items() if not math.isnan(value)}


def _symmetries(
    dataset: ShardedDataset, model: ObjectRecogniser, config: EvaluationConfig, data: DataConfig
) -> Symmetries:
    """The symmetries; if the training shapes are missing, those that the recipe lists, with a warning."""
    try:
        return Symmetries(dataset, model.categories, config, data)
    except DataError as error:
        logger.warning("validation knows no symmetries of shapes: %s; %s", error.problem, error.remedy)
        listed = tuple(text for text in config.symmetries if text != AUTO)
        return Symmetries(dataset, model.categories, replace(config, symmetries=listed), data)
