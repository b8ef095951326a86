"""Recipes of the pose search, the stage before ``mesh_texture/best-*``."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model
from raylift.geometry.pose_grid import PoseRange
from raylift.models.entry import ModelEntry
from raylift.models.poses.config import PoseSearchConfig, StartsConfig
from raylift.networks.pose_posterior import PoseConfig

BEST_METRIC = "val/mask_iou"
RATE = OptimizerConfig(
    kind="adam",
    learning_rate=0.015,
    weight_decay=0.0,
    betas=(0.9, 0.95),
    clip_norm=0.0,
    schedule=LearningRateConfig("constant"),
)


def quick() -> Recipe:
    """Six starts of 200 steps: a minute of CPU time.

    ``raylift train poses/quick --data DIR``, or as the first stage of ``mesh_texture/best-quick``.
    """
    return Recipe(
        name="poses/quick",
        model=PoseSearchConfig(),
        data=DataConfig(batch_size=64),
        optimizers={"default": RATE},
        schedule=ScheduleConfig(
            num_steps=200, log_every=20, eval_every=0, checkpoint_every=50, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def paper() -> Recipe:
    """For thousands of images or more: 12 starts, a finer mesh, batches of 256.

    ``raylift train poses/paper --data DIR``. Photographs: ``model.poses.cue=vgg16 model.image_px=128``, and
    ranges of elevation and roll that contain all images.
    """
    base = quick()
    model: PoseSearchConfig = base.model
    return replace(
        base,
        name="poses/paper",
        model=replace(model, image_px=128, poses=PoseConfig(level=3), starts=StartsConfig(draws=6), window=2048),
        data=DataConfig(batch_size=256),
        schedule=replace(base.schedule, num_steps=1000),
        scale=ScaleConfig(workers=1),
    )


def test() -> Recipe:
    """The smallest search: seconds, for tests."""
    base = quick()
    return replace(
        base,
        name="poses/test",
        model=PoseSearchConfig(
            image_px=32,
            poses=PoseConfig(PoseRange(azimuths=8, elevations=2), match_px=16, level=1),
            starts=StartsConfig(("long", "ball"), (0.0, 2.2), draws=1),
        ),
        data=DataConfig(batch_size=4),
        schedule=replace(base.schedule, num_steps=8, log_every=2, eval_every=4, checkpoint_every=3),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: PoseSearchConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.poses.model import PoseSearch

    return PoseSearch(config, seed, info)


ENTRY = ModelEntry("poses", PoseSearchConfig, _build, {"paper": paper, "quick": quick, "test": test})
