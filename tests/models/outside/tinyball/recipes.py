"""Recipes of the tiny ball."""

from __future__ import annotations

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model
from raylift.models.entry import ModelEntry
from tinyball.config import TinyBallConfig


def test() -> Recipe:
    """A second of training: ``python jobs/train.py tinyball/test --data DIR``."""
    return Recipe(
        name="tinyball/test",
        model=TinyBallConfig(),
        data=DataConfig(batch_size=2),
        optimizers={"default": OptimizerConfig(learning_rate=1e-2)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=0, checkpoint_every=4),
        evaluation=EvaluationConfig(("disn",), resolution=16, color_views=0, lpips=False, panels=0),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: TinyBallConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes does not wait for the model's imports.
    from tinyball.model import TinyBall

    return TinyBall(config, seed)


ENTRY = ModelEntry("tinyball", TinyBallConfig, _build, {"test": test})
