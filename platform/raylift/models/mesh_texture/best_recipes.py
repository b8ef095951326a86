"""The best known mesh-texture recipes, which depart from the papers: poses first, then shapes and textures."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.models.mesh_texture.config import (
    CameraConfig,
    EncoderConfig,
    FrechetConfig,
    MeshTextureConfig,
    RandomViewConfig,
    RenderConfig,
    ShapeConfig,
    TextureConfig,
    VarianceConfig,
)
from raylift.models.mesh_texture.paper_recipes import BEST_METRIC
from raylift.models.mesh_texture.weights import MeshTextureWeights, TermSchedule
from raylift.networks.pose_posterior import PoseConfig

RATE = OptimizerConfig(
    kind="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    clip_norm=5.0,
    schedule=LearningRateConfig("one_cycle", warmup_fraction=0.1),
)


def best_model() -> MeshTextureConfig:
    """Cameras in 12 azimuth bins anchored to the pose search; weak smoothing, offsets penalised from the start."""
    return MeshTextureConfig(
        shape=ShapeConfig(refresh_every=0),
        camera=CameraConfig("bins", num_hypotheses=12, rendered=3, distil_steps=300),
        weights=MeshTextureWeights(anchor=1.0, deform=10.0, laplacian=0.01, orientation=0.0),
        terms=TermSchedule(deform_from=0, orientation_until=0, upright_until=0),
    )


def best_quick_stage1() -> Recipe:
    """Cameras, shapes and textures from the poses of ``poses/quick``; minutes on two cores.

    ``raylift train mesh_texture/best-quick --data DIR`` trains the search and this stage. Overrides such as
    ``model.poses.ranges.elevation_deg=[-10,30]`` apply to both.
    """
    return Recipe(
        name="mesh_texture/best-quick.stage1",
        model=replace(
            best_model(),
            image_px=64,
            encoder=EncoderConfig(width=16, num_features=128),
            texture=TextureConfig(height=64, width=128, channels=64, samples_a_side=3),
            render=RenderConfig(sigma=1e-4, texture_sigma=1e-4, faces_per_pixel=4),
        ),
        data=DataConfig(batch_size=16),
        optimizers={"default": RATE},
        schedule=ScheduleConfig(
            num_steps=900, log_every=20, eval_every=300, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def best_paper_stage1() -> Recipe:
    """``best-quick`` at 256 pixels with ResNet-18's own width, for a GPU and thousands of images."""
    quick = best_quick_stage1()
    model = best_model()
    return replace(
        quick,
        name="mesh_texture/best-paper.stage1",
        model=replace(model, poses=PoseConfig(level=3), camera=replace(model.camera, distil_steps=5000)),
        data=DataConfig(batch_size=64),
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
        scale=ScaleConfig(),
    )


def best_adaptive_quick_stage2() -> Recipe:
    """The adaptive-gradient paper's two additions with correct cameras: D_var (31, 32) and a Fréchet distance.

    ``raylift train mesh_texture/best-adaptive-quick --data DIR`` trains the search and both stages;
    ``start_from=RUN.stage1`` adds this stage to a run of ``best-quick``. Weights are those of ``adaptive-quick``,
    without a critic, to isolate the effect of the two additions.
    """
    first = best_quick_stage1()
    model = _adaptive(first.model)
    return replace(
        first,
        name="mesh_texture/best-adaptive-quick.stage2",
        model=replace(
            model,
            frechet=FrechetConfig(extractor="random"),
            variance=replace(model.variance, resolution=32, width=32),
            weights=replace(model.weights, frechet=0.02),
        ),
        schedule=replace(first.schedule, num_steps=300, eval_every=100),
    )


def best_adaptive_paper_stage2() -> Recipe:
    """The same at ``best-paper``'s size, for a GPU; needs Inception V3's weights (``networks.pretrained``)."""
    first = best_paper_stage1()
    return replace(first, name="mesh_texture/best-adaptive-paper.stage2", model=_adaptive(first.model))


def _adaptive(model: MeshTextureConfig) -> MeshTextureConfig:
    return replace(
        model,
        camera=replace(model.camera, distil_steps=0),
        views=RandomViewConfig(source="learned"),
        variance=VarianceConfig(enabled=True),
        weights=replace(model.weights, pseudo_label=1.0, searched=1.0, align=1.0, frechet=1e-3),
    )
