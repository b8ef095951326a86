"""Recipes of part segmentation (SCOPS)."""

from __future__ import annotations

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.model import Model
from raylift.models.entry import ModelEntry
from raylift.models.part_segmentation.config import PartSegmentationConfig

BEST_METRIC = "val/explained"


def paper() -> Recipe:
    """SCOPS' size: 4 parts, ResNet-50, 256 pixels, VGG's last features, 100 000 steps.

    For a GPU: ``raylift segment-parts --recipe part_segmentation/paper --data DIR --out DIR``.
    """
    return Recipe(
        name="part_segmentation/paper",
        model=PartSegmentationConfig(),
        data=DataConfig(batch_size=16),
        optimizers={
            "default": OptimizerConfig(
                learning_rate=1e-4, weight_decay=5e-4, clip_norm=5.0, schedule=LearningRateConfig("cosine")
            )
        },
        schedule=ScheduleConfig(num_steps=100_000, eval_every=2000, checkpoint_every=1000, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
    )


def quick() -> Recipe:
    """A thin ResNet-18 at 128 pixels with AlexNet's features, for two CPU cores.

    ``raylift segment-parts --data DIR --out DIR``; the model's README has the expected result.
    """
    return Recipe(
        name="part_segmentation/quick",
        model=PartSegmentationConfig(image_px=128, backbone="resnet18", width=16, channels=32, extractor="alexnet"),
        data=DataConfig(batch_size=16),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(
            num_steps=300, log_every=20, eval_every=100, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def test() -> Recipe:
    """The smallest model, with untrained features: seconds, for tests."""
    return Recipe(
        name="part_segmentation/test",
        model=PartSegmentationConfig(
            num_parts=3, image_px=32, backbone="resnet18", width=8, channels=8, extractor="random"
        ),
        data=DataConfig(batch_size=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: PartSegmentationConfig, seed: int, *_: object) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for torch models to load.
    from raylift.models.part_segmentation.model import PartSegmentationModel

    return PartSegmentationModel(config, seed)


ENTRY = ModelEntry("part_segmentation", PartSegmentationConfig, _build, {"paper": paper, "quick": quick, "test": test})
