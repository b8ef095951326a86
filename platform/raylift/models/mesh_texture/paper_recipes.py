"""The mesh-texture recipes at their papers' size: ``umr``, ``cmr`` and ``ucmr`` with the weights and schedules of their
authors' code, ``adaptive`` with UMR's, since its own are not published.

Unknown numbers are the model's defaults; the model's README lists the deviations.

Published figures on CUB's birds (mask IoU / SSIM): CMR .704/.782, UCMR .637/.756, UMR .734/.812, adaptive .769/.829.
"""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe
from raylift.config.schedule import ScheduleConfig
from raylift.models.mesh_texture.config import (
    CameraConfig,
    CriticConfig,
    EncoderConfig,
    MeshTextureConfig,
    PartsConfig,
    RandomViewConfig,
    ShapeConfig,
    TextureConfig,
    VarianceConfig,
)
from raylift.models.mesh_texture.weights import MeshTextureWeights, TermSchedule

MEAN_OVER_642 = 1 / 642
"""CMR's smoothness is a mean over its 642 vertices, this model's a sum (equation 4)."""

HALF_WIDTHS = 0.5
"""UCMR's distances are in images' widths, this model's in half widths."""

UMR_RATE = OptimizerConfig(
    kind="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    clip_norm=0.0,
    schedule=LearningRateConfig("inverse_time", decay=5e-4),
)
CMR_RATE = OptimizerConfig(
    kind="adam", learning_rate=1e-4, weight_decay=0.0, clip_norm=0.0, schedule=LearningRateConfig("constant")
)
BEST_METRIC = "val/mask_iou"


def umr_stage1() -> MeshTextureConfig:
    """UMR's first stage, without parts."""
    return MeshTextureConfig(
        shape=ShapeConfig(smoothness="squares"),
        encoder=EncoderConfig(pretrained="torchvision:resnet18"),
        texture=TextureConfig(moves_shape=False),
        views=RandomViewConfig(source="turned", azimuth_deg=(0.0, 180.0)),
        critic=CriticConfig(sees="mask", real="renders"),
        weights=MeshTextureWeights(
            mask=3.0,
            adversarial=1.0,
            laplacian=0.15,
            flat=4e-4,
            deform=5.0,
            orientation=0.4,
            reconstruction=0.0,
            texture_distance=3.0,
            cycle=0.5,
            perceptual=3.0,
        ),
        terms=TermSchedule(deform_from=5, orientation_until=3),
    )


def umr_stage2() -> MeshTextureConfig:
    """UMR's second stage, with the parts of its first."""
    first = umr_stage1()
    return replace(
        first,
        shape=replace(first.shape, refresh_every=0),
        camera=CameraConfig("hypotheses", num_hypotheses=8, pictures="all"),
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

    For a GPU: ``raylift train mesh_texture/umr-paper --data DIR`` trains both stages. The data set needs part
    maps for stage two.
    """
    return Recipe(
        name="mesh_texture/umr-paper.stage1",
        model=replace(umr_stage1(), parts=PartsConfig("always", learn=True)),
        data=DataConfig(batch_size=64),
        optimizers={"default": UMR_RATE},
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def umr_paper_stage2() -> Recipe:
    """UMR's second stage: 8 cameras per image, the template's parts against the image's; initialised from stage one."""
    return Recipe(
        name="mesh_texture/umr-paper.stage2",
        model=umr_stage2(),
        data=DataConfig(batch_size=16),
        optimizers={"default": UMR_RATE},
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def adaptive_paper_stage1() -> Recipe:
    """The paper's first stage, which is UMR's."""
    return replace(umr_paper_stage1(), name="mesh_texture/adaptive-paper.stage1")


def adaptive_paper_stage2() -> Recipe:
    """The paper: UMR's second stage with D_var (equations 11-32), perceptual and Fréchet terms (40-47).

    Its weights are not published: 31 and 32 have the weights of the alignment and reconstruction that they refine. It
    needs Inception V3's weights, see ``networks.pretrained``.
    """
    base = umr_paper_stage2()
    model: MeshTextureConfig = base.model
    return replace(
        base,
        name="mesh_texture/adaptive-paper.stage2",
        model=replace(
            model,
            variance=VarianceConfig(enabled=True),
            weights=replace(model.weights, pseudo_label=1.0, searched=1.0, align=1.0, reconstruction=3.0, frechet=1e-3),
        ),
    )


def cmr_paper() -> Recipe:
    """CMR: cameras from keypoints, and a template initialised to their hull; the data set needs keypoints.

    Its own weights, its losses with the fitted cameras, its trained mean shape. The texture is UMR's here (texels
    instead of faces), the encoder this model's.
    """
    return Recipe(
        name="mesh_texture/cmr-paper",
        model=MeshTextureConfig(
            encoder=EncoderConfig(pretrained="torchvision:resnet18"),
            shape=ShapeConfig(refresh_every=0, trained=True, from_keypoints=True),
            texture=TextureConfig(moves_shape=False),
            camera=CameraConfig("keypoints"),
            weights=MeshTextureWeights(
                mask=0.0,
                mask_squares=2.0,
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
                assignment=0.16,
            ),
            terms=TermSchedule(deform_from=0),
        ),
        data=DataConfig(batch_size=16),
        optimizers={"default": CMR_RATE},
        schedule=ScheduleConfig(num_epochs=500, best_metric=BEST_METRIC),
    )


def ucmr_paper() -> Recipe:
    """UCMR: 40 cameras per image, pruned to 4, and D_cam fitted to the best of them.

    Its own weights, trained mean shape, predicted colours, camera initialisation and scores. It starts from a template
    made by hand for the class; here from an ellipsoid, longest from front to back, or by ``start_from=RUN`` from the
    template of a run of ``umr-*.stage1``. D_cam is trained with the rest, not after it.
    """
    return Recipe(
        name="mesh_texture/ucmr-paper",
        model=MeshTextureConfig(
            encoder=EncoderConfig(pretrained="torchvision:resnet18"),
            jitter=0.0,
            shape=ShapeConfig(refresh_every=0, trained=True, radii=(0.3, 0.35, 0.5)),
            texture=TextureConfig(predicts="colors", moves_camera=True),
            camera=CameraConfig("multiplex", prune_epochs=(170,), pictures="all"),
            weights=MeshTextureWeights(
                mask=0.0,
                mask_squares=10.0,
                outside=10.0 * HALF_WIDTHS,
                deform=1.0,
                laplacian=0.5 * MEAN_OVER_642,
                flat=0.0,
                orientation=0.0,
                reconstruction=0.0,
                perceptual=1.0,
                cycle=0.0,
                texture_distance=0.0,
                pose=1.0,
            ),
            terms=TermSchedule(deform_from=0, shape_from=150, texture_from=150),
        ),
        data=DataConfig(batch_size=12),
        optimizers={"default": replace(CMR_RATE, clip_norm=100.0)},
        schedule=ScheduleConfig(num_epochs=650, best_metric=BEST_METRIC),
    )
