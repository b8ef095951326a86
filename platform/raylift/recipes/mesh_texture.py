"""Recipes of the mesh-texture family: the paper's and its predecessors', each with published weights and for two cores.

Weights and schedules of the ``paper`` variants are those that the systems published; where a number is not known, the
family's default stands. Published figures of CUB's birds (mask IoU / SSIM): CMR .704/.782, UCMR .637/.756, UMR
.734/.812, adaptive .769/.829.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from raylift.core.data_facts import DataFacts
from raylift.core.family import Family
from raylift.core.schedules import LearningRateConfig
from raylift.data.config import DataConfig
from raylift.evaluation.config import EvaluationConfig
from raylift.families.mesh_texture.config import (
    CameraConfig,
    CriticConfig,
    EncoderConfig,
    FrechetConfig,
    MeshTextureConfig,
    MeshTextureWeights,
    PartsConfig,
    RenderConfig,
    ShapeConfig,
    TermSchedule,
    TextureConfig,
    VarianceConfig,
)
from raylift.recipes.family_entry import FamilyEntry
from raylift.recipes.recipe import Recipe, ScaleConfig
from raylift.training.config import OptimisationConfig, ScheduleConfig

MEAN_OVER_642 = 1 / 642
"""CMR's smoothness is a mean over its 642 vertices, this family's a sum (equation 4)."""

UMR_RATE = OptimisationConfig(
    optimizer="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    clip_norm=0.0,
    schedule=LearningRateConfig("inverse_time", decay=5e-4),
)
CMR_RATE = OptimisationConfig(
    optimizer="adam", learning_rate=1e-4, weight_decay=0.0, clip_norm=0.0, schedule=LearningRateConfig("constant")
)
QUICK_RATE = OptimisationConfig(
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    clip_norm=5.0,
    schedule=LearningRateConfig("one_cycle", warmup_fraction=0.1),
)
BEST_METRIC = "val/mask_iou"

# -- the families' paper variants -------------------------------------------------------------------------------------


def _umr_stage1() -> MeshTextureConfig:
    return MeshTextureConfig(
        critic=CriticConfig(sees="mask"),
        weights=MeshTextureWeights(
            mask=3.0,
            adversarial=1.0,
            laplacian=0.15,
            flat=4e-4,
            deform=5.0,
            orientation=0.4,
            reconstruction=3.0,
            texture_distance=3.0,
            cycle=0.5,
            perceptual=3.0,
        ),
        terms=TermSchedule(deform_from=5, orientation_until=3),
    )


def _umr_stage2() -> MeshTextureConfig:
    first = _umr_stage1()
    return replace(
        first,
        shape=replace(first.shape, refresh_every=0),
        camera=CameraConfig("hypotheses", num_hypotheses=8),
        critic=CriticConfig(sees="rgb"),
        parts=PartsConfig("always", learn=False),
        weights=replace(
            first.weights,
            mask=2.5,
            flat=5e-4,
            deform=1.0,
            cycle=1.0,
            orientation=0.0,
            camera_entropy=0.05,
            part_probability=5.0,
            part_chamfer=10.0,
        ),
        terms=TermSchedule(deform_from=0, orientation_until=0),
    )


def umr_paper_stage1() -> Recipe:
    """UMR's first stage: template, textures and cameras from silhouettes; parts are learned where there are maps.

    For a GPU: ``python jobs/train.py mesh_texture/umr-paper --data DIR`` trains both stages. The data set needs part
    maps for stage two.
    """
    return Recipe(
        name="mesh_texture/umr-paper.stage1",
        family=replace(_umr_stage1(), parts=PartsConfig("always", learn=True)),
        data=DataConfig(batch_size=64),
        optimisation=UMR_RATE,
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def umr_paper_stage2() -> Recipe:
    """UMR's second stage: 8 cameras an image, the template's parts against the image's; it starts from stage one."""
    return Recipe(
        name="mesh_texture/umr-paper.stage2",
        family=_umr_stage2(),
        data=DataConfig(batch_size=16),
        optimisation=UMR_RATE,
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def adaptive_paper_stage1() -> Recipe:
    """The paper's first stage, which is UMR's."""
    return replace(umr_paper_stage1(), name="mesh_texture/adaptive-paper.stage1")


def adaptive_paper_stage2() -> Recipe:
    """The paper: UMR's second stage with D_var (equations 11-32), perceptual and Fréchet terms (40-47).

    Its weights are not published: 31 and 32 count as the alignment and the reconstruction that they refine. It needs
    Inception V3's weights, see ``networks.pretrained``.
    """
    base = umr_paper_stage2()
    family: MeshTextureConfig = base.family
    return replace(
        base,
        name="mesh_texture/adaptive-paper.stage2",
        family=replace(
            family,
            variance=VarianceConfig(enabled=True),
            weights=replace(family.weights, pseudo_label=1.0, searched=1.0, align=1.0, frechet=1e-2, perceptual=3.0),
        ),
    )


def cmr_paper() -> Recipe:
    """CMR: keypoints tell the camera; the data set needs keypoints. No refresh of the template, no critic."""
    return Recipe(
        name="mesh_texture/cmr-paper",
        family=MeshTextureConfig(
            shape=ShapeConfig(refresh_every=0),
            camera=CameraConfig("keypoints"),
            weights=MeshTextureWeights(
                mask=2.0,
                keypoint=30.0,
                camera=2.0,
                deform=10.0,
                laplacian=30.0 * MEAN_OVER_642,
                flat=0.0,
                orientation=0.0,
                reconstruction=0.0,
                perceptual=0.5,
                cycle=0.0,
                texture_distance=0.5,
                assignment=0.1,
            ),
            terms=TermSchedule(deform_from=0),
        ),
        data=DataConfig(batch_size=16),
        optimisation=CMR_RATE,
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def ucmr_paper() -> Recipe:
    """UCMR: 40 cameras an image, pruned to 4, and D_cam fitted to the best of them."""
    return Recipe(
        name="mesh_texture/ucmr-paper",
        family=MeshTextureConfig(
            jitter=0.0,
            shape=ShapeConfig(refresh_every=0),
            camera=CameraConfig("multiplex", prune_epochs=(20,)),
            weights=MeshTextureWeights(
                mask=2.0,
                deform=10.0,
                laplacian=6.0 * MEAN_OVER_642,
                flat=0.0,
                orientation=0.0,
                reconstruction=0.0,
                perceptual=0.5,
                cycle=0.0,
                texture_distance=0.5,
                pose=1.0,
            ),
            terms=TermSchedule(deform_from=0),
        ),
        data=DataConfig(batch_size=12),
        optimisation=CMR_RATE,
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


# -- for two CPU cores ------------------------------------------------------------------------------------------------


def _small(config: MeshTextureConfig) -> MeshTextureConfig:
    """A thin network at 64 pixels, and weights that keep a shape whole within a few hundred steps."""
    return replace(
        config,
        image_px=64,
        encoder=EncoderConfig(width=16, num_features=128),
        shape=replace(config.shape, level=3),
        texture=TextureConfig(64, 128, channels=64, samples_a_side=3),
        render=RenderConfig(sigma=1e-4, texture_sigma=1e-4, faces_per_pixel=4),
        critic=replace(config.critic, width=16),
        frechet=FrechetConfig(extractor="random"),
        variance=replace(config.variance, resolution=32, width=32),
    )


def _quick(recipe: Recipe, name: str, family: MeshTextureConfig, num_steps: int = 600) -> Recipe:
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
            texture=TextureConfig(16, 32, channels=16, samples_a_side=2),
            camera=replace(family.camera, azimuths=3, elevations_deg=(0.0, 20.0), keep=2, num_hypotheses=3),
            render=RenderConfig(sigma=1e-3, texture_sigma=1e-3, faces_per_pixel=3),
            critic=replace(family.critic, width=4),
            variance=replace(family.variance, resolution=8, width=8),
        ),
        data=DataConfig(batch_size=4),
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def umr_quick_stage1() -> Recipe:
    """Template, shapes, textures and cameras from silhouettes in minutes on two cores.

    ``python jobs/train.py mesh_texture/umr-quick --data DIR`` trains both stages. No perceptual term, so that nothing
    need be downloaded, and no parts, so that any folder of cut-outs does.
    """
    family = _umr_stage1()
    weights = replace(family.weights, perceptual=0.0)
    return _quick(umr_paper_stage1(), "umr-quick.stage1", replace(family, weights=weights))


def umr_quick_stage2() -> Recipe:
    """8 cameras an image and a critic of colours; ``start_from`` stage one.

    Without parts (family.parts.use=never): with a data set that has part maps, set it to always in both stages, and
    family.weights.part_chamfer and part_probability to 10 and 5 here.
    """
    family = _umr_stage2()
    weights = replace(family.weights, perceptual=0.0, part_chamfer=0.0, part_probability=0.0)
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
            weights=replace(family.weights, pseudo_label=1.0, searched=1.0, align=1.0, frechet=1.0),
        ),
    )


def ucmr_quick() -> Recipe:
    """12 cameras an image (6 azimuths, 2 elevations), pruned to 2 on the way."""
    family: MeshTextureConfig = ucmr_paper().family
    return _quick(
        ucmr_paper(),
        "ucmr-quick",
        replace(
            family,
            camera=replace(family.camera, azimuths=6, elevations_deg=(0.0, 25.0), keep=2, prune_epochs=(20, 60)),
            weights=replace(
                family.weights, mask=3.0, deform=1.0, laplacian=0.15, flat=4e-4, reconstruction=3.0, perceptual=0.0
            ),
        ),
    )


def cmr_quick() -> Recipe:
    """Cameras by keypoints; the data set needs them."""
    family: MeshTextureConfig = cmr_paper().family
    return _quick(
        cmr_paper(),
        "cmr-quick",
        replace(family, weights=replace(family.weights, laplacian=0.15, flat=4e-4, reconstruction=3.0, perceptual=0.0)),
    )


def _build(config: MeshTextureConfig, seed: int, facts: DataFacts) -> Family:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.families.mesh_texture.family import MeshTextureFamily

    return MeshTextureFamily(config, seed, facts)


def _tests(*builders: Callable[[], Recipe]) -> dict[str, Callable[[], Recipe]]:
    def tester(builder: Callable[[], Recipe]) -> Callable[[], Recipe]:
        return lambda: _test(builder())

    return {_test(builder()).name.partition("/")[2]: tester(builder) for builder in builders}


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
    {builder().name.partition("/")[2]: builder for builder in (*_PAPER, *_QUICK)} | _tests(*_QUICK),
    chains={
        f"{method}-{size}": (f"{method}-{size}.stage1", f"{method}-{size}.stage2")
        for method in ("umr", "adaptive")
        for size in ("paper", "quick", "test")
    },
)
