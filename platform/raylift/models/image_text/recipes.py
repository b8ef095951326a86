"""Recipes of the image-text model."""

from __future__ import annotations

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.model import Model
from raylift.models.entry import ModelEntry
from raylift.models.image_text.config import ImageTextConfig
from raylift.networks.image_text.two_tower import TwoTowerConfig

BEST_METRIC = "val/top5"


def quick() -> Recipe:
    """A thin ResNet-18 at 64 pixels and hashed n-grams, for two CPU cores.

    ``raylift train image_text/quick --data DIR``; the model's README has the expected result.
    """
    return Recipe(
        name="image_text/quick",
        model=ImageTextConfig(),
        data=DataConfig(batch_size=64),
        optimizers={
            "default": OptimizerConfig(learning_rate=1e-3, weight_decay=0.05, schedule=LearningRateConfig("cosine"))
        },
        schedule=ScheduleConfig(
            num_steps=600, log_every=20, eval_every=100, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def test() -> Recipe:
    """The smallest model: seconds, for tests."""
    towers = TwoTowerConfig(image_px=32, width=8, num_features=16, num_buckets=256, embedding=16)
    return Recipe(
        name="image_text/test",
        model=ImageTextConfig(towers),
        data=DataConfig(batch_size=8),
        optimizers={"default": OptimizerConfig(learning_rate=3e-3)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: ImageTextConfig, seed: int, *_: object) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for torch models to load.
    from raylift.models.image_text.model import ImageTextTrainer

    return ImageTextTrainer(config, seed)


ENTRY = ModelEntry("image_text", ImageTextConfig, _build, {"quick": quick, "test": test})
