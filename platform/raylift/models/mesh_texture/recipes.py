"""Recipes of the mesh-texture model: ``cmr``, ``ucmr``, ``umr`` and the paper (``adaptive``), each as published and for
two cores; each has a ``test`` that runs in seconds."""

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
from raylift.core.model import ReconstructionModel
from raylift.geometry.pose_grid import PoseRange
from raylift.models.entry import ModelEntry
from raylift.models.mesh_texture.best_recipes import (
    best_adaptive_paper_stage2,
    best_adaptive_quick_stage2,
    best_paper_stage1,
    best_quick_stage1,
)
from raylift.models.mesh_texture.config import (
    EncoderConfig,
    FrechetConfig,
    MeshTextureConfig,
    PartsConfig,
    RenderConfig,
)
from raylift.models.mesh_texture.paper_recipes import (
    BEST_METRIC,
    adaptive_paper_stage1,
    adaptive_paper_stage2,
    cmr_paper,
    ucmr_paper,
    umr_paper_stage1,
    umr_paper_stage2,
    umr_stage1,
    umr_stage2,
)
from raylift.networks.pose_posterior import PoseConfig

QUICK_RATE = OptimizerConfig(
    kind="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    clip_norm=5.0,
    schedule=LearningRateConfig("one_cycle", warmup_fraction=0.1),
)
QUICK_REFRESH, QUICK_DEFORM, QUICK_ORIENTATION = 20, 20, 60
"""Epochs; see ``ShapeConfig.refresh_every`` and ``TermSchedule``."""


def _small(config: MeshTextureConfig) -> MeshTextureConfig:
    """A thin network at 64 pixels, and a schedule for sets of tens of images, whose epochs are a few steps long."""
    terms = config.terms
    return replace(
        config,
        image_px=64,
        encoder=EncoderConfig(width=16, num_features=128),
        shape=replace(config.shape, refresh_every=QUICK_REFRESH if config.shape.refresh_every else 0),
        terms=replace(
            terms,
            deform_from=QUICK_DEFORM if terms.deform_from else 0,
            orientation_until=QUICK_ORIENTATION if terms.orientation_until else 0,
            upright_until=QUICK_ORIENTATION if terms.orientation_until else 0,
        ),
        texture=replace(config.texture, height=64, width=128, channels=64, samples_a_side=3),
        render=RenderConfig(sigma=1e-4, texture_sigma=1e-4, faces_per_pixel=4),
        critic=replace(config.critic, width=16),
        frechet=FrechetConfig(extractor="random"),
        variance=replace(config.variance, resolution=32, width=32),
    )


def _quick(recipe: Recipe, name: str, model: MeshTextureConfig, num_steps: int = 1000) -> Recipe:
    return Recipe(
        name=f"mesh_texture/{name}",
        model=_small(model),
        data=DataConfig(batch_size=16),
        optimizers={"default": QUICK_RATE},
        schedule=ScheduleConfig(
            num_steps=num_steps, log_every=20, eval_every=100, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
        start_from=recipe.start_from,
    )


def _test(recipe: Recipe) -> Recipe:
    """The smallest model with every part of a recipe in it: seconds, for tests."""
    model: MeshTextureConfig = recipe.model
    return replace(
        recipe,
        name=recipe.name.replace("-quick", "-test"),
        model=replace(
            model,
            image_px=32,
            encoder=EncoderConfig(width=8, num_features=16),
            shape=replace(model.shape, level=1, refresh_every=min(model.shape.refresh_every, 2)),
            texture=replace(model.texture, height=16, width=32, channels=16, samples_a_side=2),
            camera=replace(model.camera, azimuths=3, elevations_deg=(0.0, 20.0), keep=2, num_hypotheses=3),
            render=RenderConfig(sigma=1e-3, texture_sigma=1e-3, faces_per_pixel=3),
            critic=replace(model.critic, width=4),
            variance=replace(model.variance, resolution=8, width=8),
            terms=replace(
                model.terms,
                deform_from=min(model.terms.deform_from, 5),
                orientation_until=min(model.terms.orientation_until, 3),
                upright_until=min(model.terms.upright_until, 3),
                shape_from=min(model.terms.shape_from, 1),
                texture_from=min(model.terms.texture_from, 1),
            ),
        ),
        data=DataConfig(batch_size=4),
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def umr_quick_stage1() -> Recipe:
    """Template, shapes, textures and cameras from silhouettes in minutes on two cores.

    ``raylift train mesh_texture/umr-quick --data DIR`` trains both stages. No perceptual term, so that nothing
    is downloaded, and no parts, so that any folder of cut-outs works. Tens of images of various animals or seats need
    larger deformations than a set of birds: their weight is a fifth of UMR's.
    """
    model = umr_stage1()
    weights = replace(model.weights, reconstruction=3.0, perceptual=0.0, deform=1.0)
    return _quick(umr_paper_stage1(), "umr-quick.stage1", replace(model, weights=weights), num_steps=2500)


def umr_quick_stage2() -> Recipe:
    """8 cameras per image and an RGB critic; ``start_from`` stage one.

    Without parts (model.parts.use=never): if the data set has part maps, set it to always in both stages, and
    model.weights.part_chamfer and part_probability to 10 and 5 here.
    """
    model = umr_stage2()
    weights = replace(model.weights, reconstruction=3.0, perceptual=0.0, part_chamfer=0.0, part_probability=0.0)
    return _quick(umr_paper_stage2(), "umr-quick.stage2", replace(model, weights=weights, parts=PartsConfig("never")))


def adaptive_quick_stage1() -> Recipe:
    """Same as ``umr-quick.stage1``."""
    return replace(umr_quick_stage1(), name="mesh_texture/adaptive-quick.stage1")


def adaptive_quick_stage2() -> Recipe:
    """``umr-quick.stage2`` with D_var, and the Fréchet distance of features that need no download (an untrained
    network's: far weaker than Inception's; set model.frechet.extractor=alexnet if its weights are available)."""
    base = umr_quick_stage2()
    model: MeshTextureConfig = base.model
    return replace(
        base,
        name="mesh_texture/adaptive-quick.stage2",
        model=replace(
            model,
            variance=replace(model.variance, enabled=True),
            weights=replace(model.weights, pseudo_label=1.0, searched=1.0, align=1.0, frechet=0.02),
        ),
    )


def ucmr_quick() -> Recipe:
    """12 cameras per image (6 azimuths, 2 elevations), first fitted with the template alone, then pruned to 2.

    UCMR's weights, with plain colour differences instead of its perceptual term, which needs a download.
    """
    model: MeshTextureConfig = ucmr_paper().model
    return _quick(
        ucmr_paper(),
        "ucmr-quick",
        replace(
            model,
            camera=replace(model.camera, azimuths=6, elevations_deg=(0.0, 25.0), keep=2, prune_epochs=(60, 100)),
            weights=replace(model.weights, reconstruction=1.0, perceptual=0.0),
            terms=replace(model.terms, shape_from=40, texture_from=40),
        ),
    )


def cmr_quick() -> Recipe:
    """Cameras from keypoints; the data set needs them. CMR's weights, with plain colour differences."""
    model: MeshTextureConfig = cmr_paper().model
    return _quick(
        cmr_paper(),
        "cmr-quick",
        replace(model, weights=replace(model.weights, reconstruction=3.0, perceptual=0.0)),
    )


def _build(config: MeshTextureConfig, seed: int, info: DatasetInfo) -> ReconstructionModel:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.mesh_texture.model import MeshTextureModel

    return MeshTextureModel(config, seed, info)


def _tests(*builders: Callable[[], Recipe]) -> dict[str, Callable[[], Recipe]]:
    def tester(builder: Callable[[], Recipe]) -> Callable[[], Recipe]:
        return lambda: _test(builder())

    return {_test(builder()).name.partition("/")[2]: tester(builder) for builder in builders}


def best_test_stage1() -> Recipe:
    """``best-quick.stage1`` in seconds, from ``poses/test``, with the same pose grid; for tests."""
    recipe = _test(best_quick_stage1())
    model: MeshTextureConfig = recipe.model
    camera = replace(model.camera, num_hypotheses=4, rendered=2, distil_steps=3)
    return replace(
        recipe,
        model=replace(
            model, camera=camera, poses=PoseConfig(PoseRange(azimuths=8, elevations=2), match_px=16, level=1)
        ),
    )


_QUICK = (
    umr_quick_stage1,
    umr_quick_stage2,
    adaptive_quick_stage1,
    adaptive_quick_stage2,
    ucmr_quick,
    cmr_quick,
)
_PAPER = (
    umr_paper_stage1,
    umr_paper_stage2,
    adaptive_paper_stage1,
    adaptive_paper_stage2,
    ucmr_paper,
    cmr_paper,
)

ENTRY = ModelEntry(
    "mesh_texture",
    MeshTextureConfig,
    _build,
    {
        builder().name.partition("/")[2]: builder
        for builder in (
            *_PAPER,
            *_QUICK,
            best_paper_stage1,
            best_quick_stage1,
            best_test_stage1,
            best_adaptive_paper_stage2,
            best_adaptive_quick_stage2,
        )
    }
    | _tests(*_QUICK),
    starts_from=("poses",),
    chains={f"best-{size}": (f"poses/{size}", f"best-{size}.stage1") for size in ("paper", "quick", "test")}
    | {
        f"best-adaptive-{size}": (f"poses/{size}", f"best-{size}.stage1", f"best-adaptive-{size}.stage2")
        for size in ("paper", "quick")
    }
    | {
        f"{method}-{size}": (f"{method}-{size}.stage1", f"{method}-{size}.stage2")
        for method in ("umr", "adaptive")
        for size in ("paper", "quick", "test")
    },
)
