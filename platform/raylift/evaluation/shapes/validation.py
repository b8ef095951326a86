"""Quick validation on a data set of shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.core import collectives
from raylift.core.model import ReconstructionModel
from raylift.core.types import Batch, SampleRequest
from raylift.data.feed.stream import chosen_entries
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.alarms import FLAT_SHAPES, flat_shapes
from raylift.evaluation.shapes.baselines import ShapeBaselines
from raylift.evaluation.shapes.visible_evidence import Told
from raylift.evaluation.validation import Validation, inside_of, validate_shapes
from raylift.metrics.iou import iou
from raylift.metrics.scores import mean_of

VALIDATION_POINTS = 4096
"""Points per sample for the quick validation IoU."""


class ShapeValidation(Validation):
    """IoU at stored points, with unlearned baselines on the same samples (``val/carved_mean/iou``, ...).

    Args:
        wanted: request of the model's training samples.
        config: evaluation settings; they decide whether baselines are scored.
    """

    def __init__(
        self, dataset: ShardedDataset, wanted: SampleRequest, config: EvaluationConfig, data: DataConfig
    ) -> None:
        self.request = replace(wanted, num_points=0, num_iou_points=VALIDATION_POINTS)
        self._baselines: ShapeBaselines | None = None
        if config.baselines:
            entries = chosen_entries(dataset, "train", data)
            self._baselines = ShapeBaselines(dataset, entries, Told.of(wanted), config.resolution)
        self._beside: dict[str, float] | None = None

    def scores(self, model: ReconstructionModel, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        own: dict[str, dict[str, float]] = {}

        def looked_at() -> Iterator[Batch]:
            for batch in batches:
                # Baselines do not change during training: once is enough.
                if self._beside is None and self._baselines is not None:
                    own.update(_baseline_ious(self._baselines, batch))
                yield batch

        found = validate_shapes(model, looked_at(), prefix)
        if self._beside is None:
            rows = {name: row for share in collectives.gather_objects(own) for name, row in share.items()}
            methods = sorted({method for row in rows.values() for method in row})
            self._beside = {
                f"{method}/iou": mean_of([rows[name][method] for name in sorted(rows) if method in rows[name]])
                for method in methods
            }
        beside = {f"{prefix}/{name}": value for name, value in self._beside.items()}
        return found | beside | {FLAT_SHAPES: flat_shapes(found[f"{prefix}/thickness_median"])}


def _baseline_ious(baselines: ShapeBaselines, batch: Batch) -> dict[str, dict[str, float]]:
    """IoU by sample and baseline."""
    rows = {}
    for index, name in enumerate(batch.ids):
        picture = batch.select(slice(index, index + 1))
        points, truth = picture["iou_points"][0].cpu(), picture["iou_inside"][0].cpu().numpy() > 0.5
        rows[name] = {
            method: iou(inside_of(field, points).numpy(), truth) for method, field in baselines.fields(picture).items()
        }
    return rows
