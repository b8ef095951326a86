"""Recipes of the mesh-texture family: ``cmr``, ``ucmr``, ``umr`` and the paper (``adaptive``), each as published and
for two cores; a ``test`` of each in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raylift.core.data_facts import DataFacts
from raylift.core.family import Family
from raylift.core.schedules import LearningRateConfig
from raylift.data.config import DataConfig
from raylift.evaluation.config import EvaluationConfig
from raylift.families.mesh_texture.config import (
    EncoderConfig,
    FrechetConfig,
    MeshTextureConfig,
    PartsConfig,
    RenderConfig,
)
from raylift.recipes import poses
from raylift.recipes.family_entry import FamilyEntry
from raylift.recipes.mesh_texture_best import (
    best_adaptive_paper_stage2,
    best_adaptive_quick_stage2,
    best_paper_stage1,
    best_quick_stage1,
)
from raylift.recipes.mesh_texture_paper import (
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
from raylift.recipes.recipe import Recipe, ScaleConfig
from raylift.training.config import OptimisationConfig, ScheduleConfig

QUICK_RATE = OptimisationConfig(
    optimizer="adam",
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


def _quick(recipe: Recipe, name: str, family: MeshTextureConfig, num_steps: int = 1000) -> Recipe:
    return Recipe(
        name=f"mesh_texture/{name}",
        family=_small(family),
        data=DataConfig(batch_size=16),
        optimisation=QUICK_RATE,
        schedule=ScheduleConfig(
            num_steps=num_steps, log_every=20, eval_every=100, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
        start_from=recipe.start_from,
    )


def _test(recipe: Recipe) -> Recipe:
    """As small as the family gets with every part of a recipe in it: seconds, for tests."""
    family: MeshTextureConfig = recipe.family
    return replace(
        recipe,
        name=recipe.name.replace("-quick", "-test"),
        family=replace(
            family,
            image_px=32,
            encoder=EncoderConfig(width=8, num_features=16),
            shape=replace(family.shape, level=1, refresh_every=min(family.shape.refresh_every, 2)),
            texture=replace(family.texture, height=16, width=32, channels=16, samples_a_side=2),
            camera=replace(family.camera, azimuths=3, elevations_deg=(0.0, 20.0), keep=2, num_hypotheses=3),
            render=RenderConfig(sigma=1e-3, texture_sigma=1e-3, faces_per_pixel=3),
            critic=replace(family.critic, width=4),
            variance=replace(family.variance, resolution=8, width=8),
            terms=replace(
                family.terms,
                deform_from=min(family.terms.deform_from, 5),
                orientation_until=min(family.terms.orientation_until, 3),
                upright_until=min(family.terms.upright_until, 3),
                shape_from=min(family.terms.shape_from, 1),
                texture_from=min(family.terms.texture_from, 1),
            ),
        ),
        data=DataConfig(batch_size=4),
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def umr_quick_stage1() -> Recipe:
    """Template, shapes, textures and cameras from silhouettes in minutes on two cores.

    ``python jobs/train.py mesh_texture/umr-quick --data DIR`` trains both stages. No perceptual term, so that nothing
    need be downloaded, and no parts, so that any folder of cut-outs does. Tens of images of all kinds of animals or
    seats need larger deformations than a set of birds: they cost a fifth of UMR's.
    """
    family = umr_stage1()
    weights = replace(family.weights, reconstruction=3.0, perceptual=0.0, deform=1.0)
    return _quick(umr_paper_stage1(), "umr-quick.stage1", replace(family, weights=weights), num_steps=2500)


def umr_quick_stage2() -> Recipe:
    """8 cameras an image and a critic of colours; ``start_from`` stage one.

    Without parts (family.parts.use=never): with a data set that has part maps, set it to always in both stages, and
    family.weights.part_chamfer and part_probability to 10 and 5 here.
    """
    family = umr_stage2()
    weights = replace(family.weights, reconstruction=3.0, perceptual=0.0, part_chamfer=0.0, part_probability=0.0)
    return _quick(umr_paper_stage2(), "umr-quick.stage2", replace(family, weights=weights, parts=PartsConfig("never")))


def adaptive_quick_stage1() -> Recipe:
    """The same as ``umr-quick.stage1``."""
    return replace(umr_quick_stage1(), name="mesh_texture/adaptive-quick.stage1")


def adaptive_quick_stage2() -> Recipe:
    """``umr-quick.stage2`` with D_var, and the Fréchet distance of features that need no download (an untrained net's:
    far weaker than Inception's; set family.frechet.extractor=alexnet where ImageNet's are at hand)."""
    base = umr_quick_stage2()
    family: MeshTextureConfig = base.family
    return replace(
        base,
        name="mesh_texture/adaptive-quick.stage2",
        family=replace(
            family,
            variance=replace(family.variance, enabled=True),
            weights=replace(family.weights, pseudo_label=1.0, searched=1.0, align=1.0, frechet=0.02),
        ),
    )


def ucmr_quick() -> Recipe:
    """12 cameras an image (6 azimuths, 2 elevations), which settle by the template first and are pruned to 2.

    UCMR's weights, with plain colour differences for its perceptual term, which needs a download.
    """
    family: MeshTextureConfig = ucmr_paper().family
    return _quick(
        ucmr_paper(),
        "ucmr-quick",
        replace(
            family,
            camera=replace(family.camera, azimuths=6, elevations_deg=(0.0, 25.0), keep=2, prune_epochs=(60, 100)),
            weights=replace(family.weights, reconstruction=1.0, perceptual=0.0),
            terms=replace(family.terms, shape_from=40, texture_from=40),
        ),
    )


def cmr_quick() -> Recipe:
    """Cameras by keypoints; the data set needs them. CMR's weights, with plain colour differences."""
    family: MeshTextureConfig = cmr_paper().family
    return _quick(
        cmr_paper(),
        "cmr-quick",
        replace(family, weights=replace(family.weights, reconstruction=3.0, perceptual=0.0)),
    )


def _build(config: MeshTextureConfig, seed: int, facts: DataFacts) -> Family:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.families.mesh_texture.family import MeshTextureFamily

    return MeshTextureFamily(config, seed, facts)


def _tests(*builders: Callable[[], Recipe]) -> dict[str, Callable[[], Recipe]]:
    def tester(builder: Callable[[], Recipe]) -> Callable[[], Recipe]:
        return lambda: _test(builder())

    return {_test(builder()).name.partition("/")[2]: tester(builder) for builder in builders}


def best_test_stage1() -> Recipe:
    """``best-quick.stage1`` in seconds, from ``poses/test``; for tests."""
    recipe = _test(best_quick_stage1())
    family: MeshTextureConfig = recipe.family
    camera = replace(family.camera, num_hypotheses=4, rendered=2, distil_steps=3)
    return replace(recipe, family=replace(family, camera=camera, poses=poses.test().family.poses))


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

ENTRY = FamilyEntry(
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
