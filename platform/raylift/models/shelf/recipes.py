"""Recipes of the shelf-supervised model: the paper's, ours, each for two cores too, and one that runs in seconds."""

from __future__ import annotations

from collections.abc import Callable
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
from raylift.models.shelf.config import (
    CameraConfig,
    CriticConfig,
    EncoderConfig,
    RenderConfig,
    ShelfConfig,
    ViewPriorConfig,
)
from raylift.models.shelf.paper_recipes import (
    BEST_METRIC,
    clip_paper,
    equivariant_paper,
    original_model,
    original_paper,
    triplane_clip_paper,
    triplane_paper,
)
from raylift.models.shelf.weights import ShelfWeights
from raylift.networks.pose_posterior import PoseConfig
from raylift.networks.volumes.config import VolumeConfig

QUICK_RATE = OptimizerConfig(
    kind="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    betas=(0.9, 0.99),
    clip_norm=5.0,
    schedule=LearningRateConfig("one_cycle", warmup_fraction=0.1),
)


def best_model() -> ShelfConfig:
    """Cameras in 12 azimuth bins anchored to the pose search, symmetric volumes, no weights that must be fetched."""
    return ShelfConfig(
        camera=CameraConfig("bins", num_hypotheses=12, rendered=2, distil_steps=300),
        volume=VolumeConfig(symmetric=True),
        views=ViewPriorConfig(elevation_deg=(0.0, 45.0)),
        critic=CriticConfig(sees="rgba"),
        weights=ShelfWeights(
            rgb=1.0,
            mask=1.0,
            perceptual=0.0,
            adversarial=0.0,
            latent_consistency=0.0,
            view_consistency=0.0,
            latent_size=0.001,
            anchor=1.0,
        ),
    )


def _small(config: ShelfConfig) -> ShelfConfig:
    return replace(
        config,
        image_px=64,
        encoder=EncoderConfig(width=16, num_features=128, latent=64),
        volume=replace(config.volume, width=64, channels=16),
        render=RenderConfig(view_px=32, num_samples=32),
        critic=replace(config.critic, width=16),
    )


def best_quick_stage1() -> Recipe:
    """Volumes and cameras from the poses of ``poses/quick``; minutes on two cores.

    ``python jobs/train.py shelf/best-quick --data DIR`` trains the search and this stage.
    """
    return Recipe(
        name="shelf/best-quick.stage1",
        model=_small(best_model()),
        data=DataConfig(batch_size=8),
        optimizers={"default": QUICK_RATE},
        schedule=ScheduleConfig(
            num_steps=1500, log_every=20, eval_every=500, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def original_quick() -> Recipe:
    """The original for two cores: without AlexNet's features, at 32 pixels."""
    model = original_model()
    weights = replace(model.weights, perceptual=0.0, structure=10.0)
    return replace(
        best_quick_stage1(),
        name="shelf/original-quick",
        model=_small(replace(model, weights=weights)),
    )


def _test(model: ShelfConfig) -> ShelfConfig:
    return replace(
        model,
        image_px=32,
        poses=PoseConfig(PoseRange(azimuths=8, elevations=2), match_px=16, level=1),
        encoder=EncoderConfig(width=8, num_features=16, latent=8),
        camera=replace(model.camera, num_hypotheses=4, rendered=2, distil_steps=0),
        volume=replace(model.volume, resolution=8, bake_resolution=16, width=8, channels=4),
        render=RenderConfig(view_px=16, num_samples=12),
        critic=replace(model.critic, width=4),
    )


def test() -> Recipe:
    """The smallest model with every term that needs no other run and no weights: seconds, for tests."""
    quick = original_quick()
    model = _test(
        replace(quick.model, camera=CameraConfig("bins"), critic=CriticConfig(sees="rgba", r1=1.0, lazy_every=3))
    )
    extra = {"camera_use": 0.1, "smoothness": 0.1, "similarity": 1.0, "feature_matching": 1.0, "path_length": 0.1}
    weights = replace(model.weights, **extra)
    return replace(
        quick,
        name="shelf/test",
        model=replace(model, weights=weights),
        data=DataConfig(batch_size=4),
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: ShelfConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.shelf.model import ShelfModel

    return ShelfModel(config, seed, info)


VARIANTS: dict[str, Callable[[], Recipe]] = {
    "original-paper": original_paper,
    "original-quick": original_quick,
    "triplane-paper": triplane_paper,
    "clip-paper": clip_paper,
    "triplane-clip-paper": triplane_clip_paper,
    "equivariant-paper": equivariant_paper,
    "best-quick.stage1": best_quick_stage1,
    "test": test,
}

ENTRY = ModelEntry(
    "shelf",
    ShelfConfig,
    _build,
    VARIANTS,
    {"best-quick": ("poses/quick", "best-quick.stage1")},
    starts_from=("poses",),
)
