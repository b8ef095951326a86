"""Recipes of the templates."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import ReconstructionModel
from raylift.models.entry import ModelEntry
from raylift.models.templates.config import TemplatesConfig
from raylift.networks.deformable_templates import DeformableTemplatesConfig


def paper() -> Recipe:
    """``quick`` with more points, larger silhouettes and ten times the steps. For a GPU.

    ``raylift train templates/paper --data DIR``, on a data set of shapes. The paper gives no sizes; NeMo's and
    NOVUM's meshes have about 1000 vertices, which is ``model.templates.level=16``, here and in what starts from the
    run.
    """
    small = quick()
    return replace(
        small,
        name="templates/paper",
        model=replace(small.model, num_points=4000, image_px=128),
        data=DataConfig(batch_size=32),
        schedule=ScheduleConfig(num_steps=8000, log_every=50, eval_every=2000, checkpoint_every=1000),
        evaluation=EvaluationConfig(),
        scale=ScaleConfig(),
    )


def quick() -> Recipe:
    """Templates of 578 vertices, for two CPU cores.

    ``raylift train templates/quick --data DIR "data.categories=[seats,tables]"``
    """
    return Recipe(
        name="templates/quick",
        model=TemplatesConfig(DeformableTemplatesConfig(max_offset=0.25, max_stretch=1.0), enclosed=0.7),
        data=DataConfig(batch_size=16, eval_views=1),
        optimizers=_optimizers(),
        schedule=ScheduleConfig(num_steps=800, log_every=20, eval_every=200, checkpoint_every=200),
        evaluation=EvaluationConfig(("occnet", "ifnet"), resolution=64, color_views=1, color_px=64, lpips=False),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def test() -> Recipe:
    """The smallest model with every part in it: seconds, for tests."""
    templates = DeformableTemplatesConfig(level=4, latent=4, hidden=16, octaves=1, max_stretch=0.5)
    return Recipe(
        name="templates/test",
        model=TemplatesConfig(templates, num_points=64, fit_steps=5, image_px=32),
        data=DataConfig(batch_size=10),
        optimizers=_optimizers(),
        schedule=ScheduleConfig(num_steps=12, log_every=2, eval_every=6, checkpoint_every=3),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _optimizers() -> dict[str, OptimizerConfig]:
    falling = LearningRateConfig()
    return {
        "default": OptimizerConfig(learning_rate=2e-3, weight_decay=0.0, schedule=falling),
        "latents": OptimizerConfig(learning_rate=2e-2, weight_decay=0.0, schedule=falling),
    }


def _build(config: TemplatesConfig, seed: int, info: DatasetInfo) -> ReconstructionModel:
    # Imported here, so that listing recipes and parsing overrides does not wait for compiled kernels.
    from raylift.models.templates.model import TemplatesModel

    return TemplatesModel(config, seed, info)


ENTRY = ModelEntry("templates", TemplatesConfig, _build, {"paper": paper, "quick": quick, "test": test})
