"""Recipes of the implicit model that are conditioned on an image and its camera only."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.models.implicit.config import (
    ConditioningConfig,
    FourierConfig,
    ImplicitConfig,
    ImplicitWeights,
    PriorConfig,
    ReadsConfig,
)


def best_image_paper() -> Recipe:
    """``best-image`` for a GPU and thousands of objects: wider, finer, longer. Untested.

    ``raylift train implicit/best-image-paper --data DIR``
    """
    quick = best_image_quick()
    model = replace(
        quick.model, image_px=128, backbone="resnet34", image_width=32, voxel_width=16, voxel_stride=1, hidden=256
    )
    return replace(
        quick,
        name="implicit/best-image-paper",
        model=replace(model, points=1024, prior=replace(model.prior, num_objects=4000)),
        data=replace(quick.data, batch_size=16),
        schedule=ScheduleConfig(num_epochs=200),
        evaluation=EvaluationConfig(),
        scale=ScaleConfig(),
    )


def best_image() -> Recipe:
    """Image only, for several classes at once: training shapes of similar silhouettes, stretched, carved, corrected.

    ``raylift train implicit/best-image --data DIR``; two CPU cores take about an hour.
    """
    schedule = ScheduleConfig(num_steps=6000, eval_every=1000, checkpoint_every=1000)
    return replace(best_image_quick(), name="implicit/best-image", schedule=schedule)


def best_image_quick() -> Recipe:
    """``best-image`` in fewer steps: minutes on two CPU cores.

    ``raylift train implicit/best-image-quick --data DIR``
    """
    return Recipe(
        name="implicit/best-image-quick",
        model=ImplicitConfig(
            image_px=64,
            encoder_inputs="rgba",
            backbone="resnet18",
            image_width=16,
            image_features=16,
            voxel_width=8,
            voxel_stride=2,
            hidden=128,
            points=256,
            sdf_range=0.1,
            mirror=True,
            prior=PriorConfig(num_neighbors=6),
            reads=ReadsConfig(pixel="rgba", silhouette=True, mirrored=True),
            fourier=FourierConfig(size=32, scale=0.8),
            conditioning=ConditioningConfig("image"),
            weights=ImplicitWeights(color=0.5, sdf=10.0, sign=0.5, color_near=0.02),
        ),
        data=DataConfig(batch_size=8, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(num_steps=1000, log_every=20, eval_every=250, checkpoint_every=500),
        evaluation=EvaluationConfig(("occnet",), resolution=128, color_views=2, lpips=False),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )
