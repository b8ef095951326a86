"""Recipes of the implicit SDF+RGB model."""

from __future__ import annotations

from dataclasses import replace

from raylift.config.data import DataConfig
from raylift.config.evaluation import EvaluationConfig
from raylift.config.optimizers import OptimizerConfig
from raylift.config.recipe import Recipe, ScaleConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import ReconstructionModel
from raylift.models.entry import ModelEntry
from raylift.models.implicit import image_recipes
from raylift.models.implicit.config import (
    ConditioningConfig,
    FourierConfig,
    ImplicitConfig,
    ImplicitWeights,
    PriorConfig,
    ReadsConfig,
)


def paper() -> Recipe:
    """The paper's model and training: ResNet-50, 224 pixels, 80 epochs of 1-cycle at 2e-3, batch 10.

    With the inputs of the authors' published code: the raw pixel, density over its maximum. Gradients are not clipped.
    For a GPU: ``raylift train implicit/paper --data DIR``. The paper trained 4 hours on about 2000 cars.
    """
    return Recipe(
        name="implicit/paper",
        model=ImplicitConfig(conditioning=ConditioningConfig(density="of_maximum"), reads=ReadsConfig(pixel="rgb")),
        data=DataConfig(batch_size=10, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4, clip_norm=0.0)},
        schedule=ScheduleConfig(num_epochs=80),
        evaluation=EvaluationConfig(),
    )


def paper_quick() -> Recipe:
    """The paper's model reduced for two CPU cores: a thin ResNet-18 at 64 pixels. Used for the paper's tables.

    ``raylift train implicit/paper-quick --data DIR``
    """
    return Recipe(
        name="implicit/paper-quick",
        model=ImplicitConfig(
            image_px=64,
            backbone="resnet18",
            image_width=16,
            image_features=16,
            voxel_width=8,
            voxel_stride=2,
            hidden=128,
            points=512,
            sdf_range=0.1,
            fourier=FourierConfig(size=64, scale=0.8),
            conditioning=ConditioningConfig(density="of_maximum"),
            reads=ReadsConfig(pixel="rgb"),
        ),
        data=DataConfig(batch_size=16, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4, clip_norm=0.0)},
        schedule=ScheduleConfig(num_steps=600, log_every=20, eval_every=150, checkpoint_every=300),
        evaluation=EvaluationConfig(("occnet", "ifnet"), resolution=128),
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


_EVERYTHING = ReadsConfig(pixel="rgba", gap=True, plane=True, nearest=True, mirrored=True)
_BRIEFLY = EvaluationConfig(("occnet",), resolution=128, color_views=2, lpips=False)
"""Every baseline is compared as a mesh too: one protocol and two rendered views keep this to a minute."""
_TOLD_WEIGHTS = ImplicitWeights(color=0.5, sdf=10.0, sign=0.25, color_near=0.02)
_WEIGHTS = replace(_TOLD_WEIGHTS, sign_inside=1.6)
"""A view determines little of what it hides: IoU is about 0.6 on held-out seats."""


def best() -> Recipe:
    """Best known recipe for an image with depth: local readers, similar training shapes carved by it, no image encoder.

    For many objects and a GPU: ``raylift train implicit/best --data DIR``. Set ``model.image_px`` to the side of
    the stored images: readers see single pixels. With fewer than a few hundred objects it overfits in 170 epochs and
    has too few shapes to retrieve; use ``implicit/quick``.
    """
    return Recipe(
        name="implicit/best",
        model=ImplicitConfig(
            image_px=128,
            backbone="none",
            voxel_width=16,
            hidden=256,
            points=1024,
            sdf_range=0.1,
            colors="mixed",
            mirror=True,
            reads=_EVERYTHING,
            fourier=FourierConfig(size=64, scale=0.8),
            # The depth's gaps are part of the prior's grid.
            conditioning=ConditioningConfig(encoding="none"),
            prior=PriorConfig(num_neighbors=6, depth=True, stretch=0.0, residual=False),
            weights=_WEIGHTS,
        ),
        data=DataConfig(batch_size=8, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(num_epochs=170),
        evaluation=EvaluationConfig(),
    )


def quick() -> Recipe:
    """``best`` reduced for two CPU cores: minutes, not hours. Three members share the training time of one.

    Dozens of objects are memorised after 500 steps; three members have a lower error than one trained longer.

    ``raylift train implicit/quick --data DIR``; the README has the expected result and its command.
    """
    return Recipe(
        name="implicit/quick",
        model=ImplicitConfig(
            image_px=128,
            backbone="none",
            voxel_width=8,
            voxel_stride=2,
            hidden=128,
            points=256,
            sdf_range=0.1,
            colors="mixed",
            members=3,
            mirror=True,
            reads=_EVERYTHING,
            fourier=FourierConfig(size=64, scale=0.8),
            conditioning=ConditioningConfig(encoding="gap"),
            weights=_WEIGHTS,
        ),
        data=DataConfig(batch_size=8, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=4e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(num_steps=500, log_every=20, eval_every=125, checkpoint_every=250),
        evaluation=_BRIEFLY,
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def told_quick() -> Recipe:
    """Conditioned on a grid of the true shape: the decoder corrects the interpolated grid.

    ``raylift train implicit/told-quick --data DIR``, with ``model.conditioning.kind=gt_occupancy`` for the
    other grid. For two CPU cores.
    """
    return Recipe(
        name="implicit/told-quick",
        model=ImplicitConfig(
            image_px=128,
            backbone="none",
            voxel_width=8,
            hidden=128,
            points=256,
            sdf_range=0.1,
            colors="mixed",
            residual=True,
            mirror=True,
            reads=ReadsConfig(pixel="rgba", mirrored=True),
            fourier=FourierConfig(size=64, scale=0.8),
            conditioning=ConditioningConfig("gt_sdf"),
            weights=_TOLD_WEIGHTS,
        ),
        data=DataConfig(batch_size=8, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(num_steps=600, log_every=20, eval_every=150, checkpoint_every=300),
        evaluation=_BRIEFLY,
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def told_paper() -> Recipe:
    """``told-quick`` with the width and training length of the paper's model. For a GPU."""
    small = told_quick()
    model = replace(small.model, voxel_width=16, hidden=512, points=4096, fourier=FourierConfig())
    return replace(paper(), name="implicit/told-paper", model=model, optimizers=small.optimizers)


def surface_quick() -> Recipe:
    """Conditioned on unordered surface points without normals: distances to them at a point and as a grid.

    ``raylift train implicit/surface-quick --data DIR``, with ``model.conditioning.num_points=300`` for few. The
    image is not read. For two CPU cores.
    """
    return Recipe(
        name="implicit/surface-quick",
        model=ImplicitConfig(
            image_px=128,
            backbone="none",
            voxel_width=8,
            voxel_stride=2,
            hidden=128,
            points=512,
            sdf_range=0.1,
            colors="mixed",
            mirror=True,
            reads=ReadsConfig(nearest=True, direction=True, plane=True, neighbors=8, sides=True, mirrored=True),
            fourier=FourierConfig(size=64, scale=0.8),
            conditioning=ConditioningConfig("surface", "distance", num_points=3000),
            # Given points determine nearly everything, so the inside needs no more weight than the outside.
            weights=_TOLD_WEIGHTS,
        ),
        data=DataConfig(batch_size=4, eval_views=4),
        optimizers={"default": OptimizerConfig(learning_rate=4e-3, weight_decay=1e-4)},
        schedule=ScheduleConfig(num_steps=1000, log_every=20, eval_every=250, checkpoint_every=500),
        evaluation=_BRIEFLY,
        scale=ScaleConfig(workers=2, cpus_per_worker=0.5),
    )


def surface_paper() -> Recipe:
    """``surface-quick`` with the width and training length of the paper's model. For a GPU."""
    small = surface_quick()
    model = replace(small.model, voxel_width=16, voxel_stride=1, hidden=512, points=4096, fourier=FourierConfig())
    return replace(paper(), name="implicit/surface-paper", model=model, optimizers=small.optimizers)


def test() -> Recipe:
    """The smallest model with every part in it: seconds, for tests."""
    return Recipe(
        name="implicit/test",
        model=ImplicitConfig(
            image_px=32,
            backbone="resnet18",
            image_width=8,
            image_features=8,
            voxel_width=4,
            hidden=32,
            points=64,
            fourier=FourierConfig(size=16),
            conditioning=ConditioningConfig(resolution=16),
        ),
        data=DataConfig(batch_size=4),
        optimizers={"default": OptimizerConfig(learning_rate=2e-3)},
        schedule=ScheduleConfig(num_steps=12, log_every=2, eval_every=6, checkpoint_every=3),
        evaluation=EvaluationConfig(resolution=32, color_views=1, color_px=32, lpips=False, panels=1),
        scale=ScaleConfig(workers=1, cpus_per_worker=0.5),
    )


def _build(config: ImplicitConfig, seed: int, info: DatasetInfo) -> ReconstructionModel:
    # Imported here, so that listing recipes and parsing overrides does not wait for torch models to load.
    from raylift.models.implicit.model import ImplicitModel

    return ImplicitModel(config, seed)


ENTRY = ModelEntry(
    "implicit",
    ImplicitConfig,
    _build,
    {
        "paper": paper,
        "paper-quick": paper_quick,
        "best": best,
        "quick": quick,
        "best-image": image_recipes.best_image,
        "best-image-quick": image_recipes.best_image_quick,
        "best-image-paper": image_recipes.best_image_paper,
        "told-quick": told_quick,
        "told-paper": told_paper,
        "surface-quick": surface_quick,
        "surface-paper": surface_paper,
        "test": test,
    },
)
