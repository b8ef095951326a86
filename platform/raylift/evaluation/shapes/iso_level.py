"""The iso-level of fields, chosen on objects that are not scored, and reported with the score.

L1 regression of distances predicts the median: where a network is unsure, thin parts become "outside", and the level 0
is biased low. Occupancy Networks tune their threshold for the same reason. Levels are compared by the IoU at stored
points, on the validation objects and as many training objects, never on the scored split. A network is more certain
about training objects, so they pull the level towards 0; validation objects alone are often too few.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from raylift.config.data import DataConfig
from raylift.core import collectives
from raylift.core.model import ReconstructionModel
from raylift.core.types import Field, SampleRequest
from raylift.data.feed.stream import evaluation_batches
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.shapes.target import spread
from raylift.metrics.iou import batch_iou
from raylift.metrics.scores import mean_of

LEVELS = (0.0, 0.0025, -0.0025, 0.005, -0.005, 0.0075, 0.01, 0.015, 0.02)
"""Candidate levels, world units; ties go to the first."""
MAX_OBJECTS = 24
"""Maximum number of objects per split."""
NUM_VIEWS = 2
NUM_POINTS = 8192


@dataclass(frozen=True)
class LevelChoice:
    """A level and the scores it was chosen by.

    Attributes:
        level: iso-level, world units; points below it are inside.
        ious: mean IoU at each of ``LEVELS`` over the selection objects; empty if the level was fixed.
        num_objects: number of selection objects per split.
    """

    level: float
    ious: tuple[float, ...] = ()
    num_objects: tuple[tuple[str, int], ...] = ()

    @property
    def note(self) -> str:
        """Note for the report."""
        if not self.ious:
            return f"iso-level {self.level:+g}"
        objects = " and ".join(f"{count} {split}" for split, count in self.num_objects)
        best, at_zero = self.ious[LEVELS.index(self.level)], self.ious[LEVELS.index(0.0)]
        return f"iso-level {self.level:+g}: chosen on {objects} objects, IoU {best:.3f} there ({at_zero:.3f} at 0)"


@torch.no_grad()
def choose_level(
    model: ReconstructionModel, dataset: ShardedDataset, data: DataConfig, scored_split: str, seed: int = 0
) -> LevelChoice | None:
    """The level with the largest mean IoU; None for a model that makes meshes. Every rank calls it and gets the same.

    Args:
        model: model in eval mode.
        scored_split: scored split, which is left out.
    """
    splits = [split for split in ("val", "train") if split != scored_split] or ["train"]
    found: dict[str, tuple[float, ...]] = {}
    counts: list[tuple[str, int]] = []
    for split in splits:
        entries = dataset.entries(split, data.categories)
        if split == "train" and data.max_objects:
            entries = entries[: data.max_objects]
        if not entries:
            continue
        chosen = [entries[index] for index in spread(MAX_OBJECTS, len(entries))]
        counts.append((split, len(chosen)))
        request: SampleRequest = replace(model.request, num_points=0, num_iou_points=_points_at(dataset, chosen[0].id))
        views = replace(data, eval_views=NUM_VIEWS, batch_size=min(data.batch_size, 8))
        rank, world = collectives.rank(), collectives.world_size()
        device = next(model.parameters()).device
        for batch in evaluation_batches(dataset, request, split, views, seed, rank, world, entries=chosen):
            answers = model.reconstruct(batch.to(device))
            for one, points, truth in zip(answers, batch["iou_points"], batch["iou_inside"] > 0.5, strict=True):
                if not isinstance(one.shape, Field):
                    continue
                values = one.shape.values_at(points.to(one.shape.device)).float().cpu()
                inside = torch.stack([values < level for level in LEVELS])
                found[one.id] = tuple(batch_iou(inside, truth.expand_as(inside)).tolist())
    everyone = {name: ious for share in collectives.gather_objects(found) for name, ious in share.items()}
    if not everyone:
        return None
    rows = [everyone[name] for name in sorted(everyone)]
    means = tuple(mean_of([row[place] for row in rows]) for place in range(len(LEVELS)))
    best = max(range(len(LEVELS)), key=lambda place: means[place])
    return LevelChoice(LEVELS[best], means, tuple(counts))


def _points_at(dataset: ShardedDataset, object_id: str) -> int:
    return min(NUM_POINTS, len(load_object(dataset, object_id, ("iou_points",)).stored("iou_points")))
