"""The shelf-supervised recipes of the paper's figure 4, with the original's settings (Ye et al. 2021)."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.models.shelf.config import CaptionConfig, ShelfConfig
from raylift.networks.volumes.config import VolumeConfig

BEST_METRIC = "val/mask_iou"
PAPER_WEIGHTS = "openai"
"""open_clip's tag of the published weights; a file is used the same way."""
PAPER_CAPTION = 100.0
"""The authors' code (its gradient never reached the generator: see README.md)."""
PAPER_RATE = OptimizerConfig(
    kind="adam",
    learning_rate=1e-4,
    weight_decay=0.0,
    clip_norm=0.0,
    schedule=LearningRateConfig("constant"),
)


def original_model() -> ShelfConfig:
    """Voxels of 16^3 features and 32^3 occupancies, one unbounded view per image, critic of RGB on white."""
    return ShelfConfig(volume=VolumeConfig(width=256, channels=64))


def triplane_model() -> ShelfConfig:
    """Three planes of the voxels' feature resolution, read continuously."""
    original = original_model()
    return replace(original, volume=VolumeConfig(representation="triplane", resolution=16, width=256))


def original_paper() -> Recipe:
    """Shelf-supervised mesh prediction as published, but for what its README lists: 100 000 steps of batch 32 on a GPU.

    ``raylift train shelf/original-paper --data DIR``; needs AlexNet's weights (``networks.pretrained``).
    """
    return Recipe(
        name="shelf/original-paper",
        model=original_model(),
        data=DataConfig(batch_size=32),
        optimizers={"default": PAPER_RATE},
        schedule=ScheduleConfig(num_steps=100_000, eval_every=2000, checkpoint_every=1000, best_metric=BEST_METRIC),
        scale=ScaleConfig(),
    )


def triplane_paper() -> Recipe:
    """The same with tri-planes (section 2.3)."""
    return replace(original_paper(), name="shelf/triplane-paper", model=triplane_model())


def equivariant_paper() -> Recipe:
    """The original with convolutions that are equivariant under the rotations of the cube (section 2.4)."""
    model = original_model()
    volume = replace(model.volume, group="o")
    return replace(original_paper(), name="shelf/equivariant-paper", model=replace(model, volume=volume))


def clip_paper() -> Recipe:
    """The original with equation 11 (section 2.5): CLIP ViT-B/16 and captions.

    ``raylift train shelf/clip-paper --data DIR model.captions.towers=ViT-B-16:FILE``. The data set's images need
    captions, such as those of 3D-FUTURE's tags.
    """
    return _with_clip(original_paper(), "clip-paper")


def triplane_clip_paper() -> Recipe:
    """Tri-planes and equation 11, the paper's best. ``clip-paper`` says what it needs."""
    return _with_clip(triplane_paper(), "triplane-clip-paper")


def _with_clip(recipe: Recipe, name: str) -> Recipe:
    model: ShelfConfig = recipe.model
    return replace(
        recipe,
        name=f"shelf/{name}",
        model=replace(
            model,
            captions=CaptionConfig(towers=f"ViT-B-16:{PAPER_WEIGHTS}"),
            weights=replace(model.weights, caption=PAPER_CAPTION),
        ),
    )
