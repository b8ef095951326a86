"""Recipes of part segmentation (SCOPS)."""

from __future__ import annotations

from raylift.core.family import Learner
from raylift.core.schedules import LearningRateConfig
from raylift.data.config import DataConfig
from raylift.evaluation.config import EvaluationConfig
from raylift.families.part_segmentation.config import PartSegmentationConfig
from raylift.recipes.family_entry import FamilyEntry
from raylift.recipes.recipe import Recipe, ScaleConfig
from raylift.training.config import OptimisationConfig, ScheduleConfig

BEST_METRIC = "val/explained"


def paper() -> Recipe:
    """SCOPS' size: 4 parts, ResNet-50, 256 pixels, VGG's last features, 100 000 steps.

    For a GPU: ``python jobs/parts.py --recipe parts/paper --data DIR --out DIR``.
    """
    return Recipe(
        name="parts/paper",
        family=PartSegmentationConfig(),
        data=DataConfig(batch_size=16),
        optimisation=OptimisationConfig(
            learning_rate=1e-4, weight_decay=5e-4, clip_norm=5.0, schedule=LearningRateConfig("cosine")
        ),
        schedule=ScheduleConfig(num_steps=100_000, eval_every=2000, checkpoint_every=1000, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
    )


def quick() -> Recipe:
    """A thin ResNet-18 at 128 pixels with AlexNet's features, for two CPU cores.

    ``python jobs/parts.py --data DIR --out DIR``; what to expect stands in the family's README.
    """
    return Recipe(
        name="parts/quick",
        family=PartSegmentationConfig(image_px=128, backbone="resnet18", width=16, channels=32, extractor="alexnet"),
        data=DataConfig(batch_size=16),
        optimisation=OptimisationConfig(learning_rate=2e-3, weight_decay=1e-4),
        schedule=ScheduleConfig(
            num_steps=300, log_every=20, eval_every=100, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def test() -> Recipe:
    """As small as the family gets, with untrained features: seconds, for tests."""
    return Recipe(
        name="parts/test",
        family=PartSegmentationConfig(
            num_parts=3, image_px=32, backbone="resnet18", width=8, channels=8, extractor="random"
        ),
        data=DataConfig(batch_size=4),
        optimisation=OptimisationConfig(learning_rate=2e-3),
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: PartSegmentationConfig, seed: int, *_: object) -> Learner:
    # Imported here, so that listing recipes and parsing overrides does not wait for torch models to load.
    from raylift.families.part_segmentation.family import PartSegmentationFamily

    return PartSegmentationFamily(config, seed)


ENTRY = FamilyEntry("parts", PartSegmentationConfig, _build, {"paper": paper, "quick": quick, "test": test})
