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
    CaptionConfig,
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
    original_paper,
    triplane_clip_paper,
    triplane_paper,
)
from raylift.models.shelf.weights import ShelfWeights
from raylift.networks.discriminators.adaptive import AdaptiveConfig
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
QUICK_CAPTION = 1.0
QUICK_TOWERS = "run:runs/image_text"
"""Where ``--name image_text`` in the folder runs leaves them."""


def best_model() -> ShelfConfig:
    """Symmetric signed distances, trained by the pose search's cameras, which the encoder's follow."""
    return ShelfConfig(
        camera=CameraConfig("bins", num_hypotheses=12, rendered=2, trained_by="searched"),
        volume=VolumeConfig(geometry="sdf", symmetric=True),
        views=ViewPriorConfig(elevation_deg=(0.0, 45.0)),
        critic=CriticConfig(sees="rgba"),
        weights=ShelfWeights(
            rgb=4.0,
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

    ``raylift train shelf/best-quick --data DIR`` trains the search and this stage.
    """
    return Recipe(
        name="shelf/best-quick.stage1",
        model=_small(best_model()),
        data=DataConfig(batch_size=8),
        optimizers={"default": QUICK_RATE},
        schedule=ScheduleConfig(
            num_steps=2500, log_every=20, eval_every=500, checkpoint_every=100, best_metric=BEST_METRIC
        ),
        evaluation=EvaluationConfig(resolution=64),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def best_paper_stage1() -> Recipe:
    """``best-quick`` at the original's size, with its critic, for a GPU and thousands of images."""
    quick, model = best_quick_stage1(), best_model()
    weights = replace(model.weights, adversarial=0.1, structure=1.0)
    return replace(
        quick,
        name="shelf/best-paper.stage1",
        model=replace(
            model,
            poses=PoseConfig(level=3),
            volume=replace(model.volume, resolution=32, bake_resolution=64, width=256),
            critic=replace(model.critic, r1=1.0, augmentation=AdaptiveConfig()),
            weights=weights,
        ),
        data=DataConfig(batch_size=32),
        schedule=ScheduleConfig(num_steps=100_000, eval_every=2000, checkpoint_every=1000, best_metric=BEST_METRIC),
        scale=ScaleConfig(),
    )


def original_quick() -> Recipe:
    """The original for two cores: 32-pixel views, image gradients in place of AlexNet's features.

    ``raylift train shelf/original-quick --data DIR``. As published it has nothing that keeps cameras from
    collapsing: see README.md, "Measured".
    """
    return _quick(original_paper())


def triplane_quick() -> Recipe:
    """``original-quick`` with tri-planes."""
    return _quick(triplane_paper())


def equivariant_quick() -> Recipe:
    """``original-quick`` with convolutions that are equivariant under the rotations of the cube."""
    return _quick(equivariant_paper())


def clip_quick() -> Recipe:
    """``original-quick`` with captions, by towers trained on the same data set.

    ``raylift train shelf/clip-quick --data DIR model.captions.towers=run:RUN``, where RUN is a run of
    ``image_text/quick`` on DIR.
    """
    return _with_towers(_quick(clip_paper()))


def triplane_clip_quick() -> Recipe:
    """``clip-quick`` with tri-planes."""
    return _with_towers(_quick(triplane_clip_paper()))


def _quick(paper: Recipe) -> Recipe:
    model: ShelfConfig = paper.model
    weights = replace(model.weights, perceptual=0.0, structure=10.0)
    return replace(
        best_quick_stage1(),
        name=paper.name.replace("-paper", "-quick"),
        model=_small(replace(model, weights=weights)),
    )


def _with_towers(recipe: Recipe) -> Recipe:
    model: ShelfConfig = recipe.model
    # 100 belongs to the published code, whose term had no gradient; here the others keep their say.
    weights = replace(model.weights, caption=QUICK_CAPTION)
    return replace(recipe, model=replace(model, captions=CaptionConfig(QUICK_TOWERS), weights=weights))


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
    # The published weights of content are too large for eight steps.
    extra = {"latent_consistency": 1.0, "view_consistency": 1.0}
    extra |= {"camera_use": 0.1, "smoothness": 0.1, "similarity": 1.0, "feature_matching": 1.0, "path_length": 0.1}
    weights = replace(model.weights, **extra)
    return replace(
        quick,
        name="shelf/test",
        model=replace(model, weights=weights),
        data=DataConfig(batch_size=4),
        optimizers={"default": replace(QUICK_RATE, learning_rate=3e-3)},
        schedule=ScheduleConfig(num_steps=8, log_every=2, eval_every=4, checkpoint_every=3, best_metric=BEST_METRIC),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: ShelfConfig, seed: int, info: DatasetInfo) -> Model:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.shelf.model import ShelfModel

    return ShelfModel(config, seed, info)


_QUICK: tuple[Callable[[], Recipe], ...] = (
    original_quick,
    triplane_quick,
    clip_quick,
    triplane_clip_quick,
    equivariant_quick,
)
_PAPER: tuple[Callable[[], Recipe], ...] = (
    original_paper,
    triplane_paper,
    clip_paper,
    triplane_clip_paper,
    equivariant_paper,
)


def _tests() -> dict[str, Callable[[], Recipe]]:
    """The smallest form of every quick recipe; captions by untrained towers."""

    def variant(quick: Callable[[], Recipe]) -> Callable[[], Recipe]:
        def make() -> Recipe:
            recipe, base = quick(), test()
            model: ShelfConfig = recipe.model
            if model.weights.caption:
                model = replace(model, captions=CaptionConfig("random"))
            return replace(base, name=recipe.name.replace("-quick", "-test"), model=_test(model))

        make.__doc__ = f"The smallest form of ``{quick().name}``: seconds, for tests."
        return make

    return {quick().name.partition("/")[2].replace("-quick", "-test"): variant(quick) for quick in _BUILT}


_BUILT: tuple[Callable[[], Recipe], ...] = (*_QUICK, best_quick_stage1)

ENTRY = ModelEntry(
    "shelf",
    ShelfConfig,
    _build,
    {build().name.partition("/")[2]: build for build in (*_PAPER, *_QUICK, best_paper_stage1, best_quick_stage1, test)}
    | _tests(),
    chains={f"best-{size}": (f"poses/{size}", f"best-{size}.stage1") for size in ("paper", "quick", "test")},
    starts_from=("poses",),
)
