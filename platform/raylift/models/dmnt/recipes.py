"""Recipes of neural textured deformable meshes: the paper's size, one for two cores, and one that runs in seconds."""

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
from raylift.models.dmnt.augmentation import AugmentationConfig
from raylift.models.dmnt.config import DmntConfig
from raylift.models.dmnt.inference.config import InferenceConfig, StartConfig
from raylift.models.dmnt.weights import ContrastConfig
from raylift.models.entry import ModelEntry
from raylift.networks.deformable_templates import DeformableTemplatesConfig
from raylift.networks.neural_texture import NeuralTextureConfig
from raylift.networks.stride_features import StrideFeaturesConfig
from raylift.rendering.surface_transform.options import TransformOptions

BEST_METRIC = "val/symmetric_pi6"


def paper() -> Recipe:
    """The size of the paper's relatives (NeMo, NOVUM): ResNet-50, stride 8, 128 channels, all counts of appendix A.3.

    ``raylift train dmnt/paper --data DIR start_from=RUN``, where RUN is one of ``templates/paper``; for GPUs.
    The paper states neither the texture's size nor the length of training; these are ours.
    """
    return Recipe(
        name="dmnt/paper",
        model=DmntConfig(
            features=StrideFeaturesConfig(pretrained="torchvision:resnet50"), texture=NeuralTextureConfig(texels=96)
        ),
        data=DataConfig(batch_size=36),
        optimizers={
            "default": OptimizerConfig(
                kind="adam",
                learning_rate=1e-4,
                weight_decay=1e-4,
                clip_norm=0.0,
                schedule=LearningRateConfig("cosine"),
            ),
            "latents": OptimizerConfig(
                kind="adam", learning_rate=1e-2, weight_decay=0.0, clip_norm=0.0, schedule=LearningRateConfig("cosine")
            ),
        },
        schedule=ScheduleConfig(num_epochs=200, eval_every=1000, checkpoint_every=500, best_metric=BEST_METRIC),
        scale=ScaleConfig(),
    )


def quick() -> Recipe:
    """128-pixel images, features every 4 pixels: for two CPU cores.

    ``raylift train dmnt/quick --data SCENES start_from=RUN``, where RUN is one of ``templates/quick`` on the
    shapes that SCENES shows.
    """
    return replace(
        paper(),
        name="dmnt/quick",
        model=DmntConfig(
            image_px=128,
            augmentation=AugmentationConfig(mirror=True, color=0.3, grey=0.5),
            features=StrideFeaturesConfig(
                backbone="resnet18", pretrained="efficientnet_lite0", stride=4, hidden=64, channels=64
            ),
            texture=NeuralTextureConfig(texels=32, num_clutter=32),
            contrast=ContrastConfig(num_surface=300, num_same=300, num_background=1000, near_deg=15.0),
            inference=InferenceConfig(
                starts=StartConfig(
                    PoseRange(azimuths=12, elevation_deg=(-10.0, 55.0), elevations=4, roll_deg=15.0, rolls=3),
                    distances=(1.9, 2.3),
                    max_offset=0.08,
                    offsets=3,
                )
            ),
        ),
        data=DataConfig(batch_size=8),
        optimizers={
            "default": OptimizerConfig(
                learning_rate=1e-3, clip_norm=5.0, schedule=LearningRateConfig("one_cycle", warmup_fraction=0.1)
            ),
            "latents": OptimizerConfig(
                kind="adam", learning_rate=1e-2, weight_decay=0.0, clip_norm=0.0, schedule=LearningRateConfig("cosine")
            ),
        },
        schedule=ScheduleConfig(
            num_steps=2000, log_every=20, eval_every=500, checkpoint_every=250, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(panels=0, validation_images=48),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def test() -> Recipe:
    """The smallest model: seconds, for tests."""
    base = quick()
    return replace(
        base,
        name="dmnt/test",
        model=DmntConfig(
            image_px=64,
            augmentation=AugmentationConfig(mirror=True, color=0.3, grey=0.5),
            features=StrideFeaturesConfig(backbone="resnet18", width=8, stride=4, hidden=16, channels=16),
            texture=NeuralTextureConfig(texels=8, num_clutter=4, clutter_patience=2),
            templates=DeformableTemplatesConfig(level=4, latent=4, hidden=8, layers=2, octaves=2),
            contrast=ContrastConfig(
                num_surface=24,
                num_same=24,
                num_other=8,
                num_background=40,
                near_deg=30.0,
                # Cells are large here.
                transform=TransformOptions(max_side=0.5, max_depth_step=0.5),
            ),
            inference=InferenceConfig(
                starts=StartConfig(PoseRange(azimuths=4, elevations=1)),
                num_categories=2,
                num_starts=2,
                pose_steps=2,
                drop_after=1,
                shape_steps=1,
            ),
        ),
        data=DataConfig(batch_size=4),
        optimizers={"default": OptimizerConfig(learning_rate=3e-3)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: DmntConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.dmnt.model import DmntModel

    return DmntModel(config, seed, info)


ENTRY = ModelEntry(
    "dmnt", DmntConfig, _build, {"paper": paper, "quick": quick, "test": test}, starts_from=("templates",)
)
