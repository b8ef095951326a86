"""Planted truths: on tables of boxes the implicit model must beat what needs no learning, by a margin."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.step_info import StepInfo
from raylift.core.types import GRID_HALF_EXTENT
from raylift.models.implicit.config import (
    ConditioningConfig,
    FourierConfig,
    ImplicitConfig,
    ImplicitWeights,
    ReadsConfig,
)
from raylift.models.implicit.model import ImplicitModel
from raylift.models.implicit.view import View
from raylift.networks.point_sampling import sample_volume
from tests.models.implicit_tables import Tables, iou

TRAINED, HELD_OUT = Tables(24, seed=1), Tables(8, seed=2)
SHARED = {
    "image_px": 48,
    "backbone": "none",
    "voxel_width": 4,
    "hidden": 64,
    "points": 192,
    "sdf_range": 0.1,
    "colors": "mixed",
    "mirror": True,
    "fourier": FourierConfig(16),
    "weights": ImplicitWeights(sign=0.25, color_near=0.02),
}


def trained(config: ImplicitConfig, steps: int, batch_size: int = 8) -> ImplicitModel:
    model = ImplicitModel(config, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for step in range(steps):
        if step % 25 == 0:
            whole = TRAINED.batch(config, points_seed=step)
        start = step * batch_size % len(TRAINED)
        optimizer.zero_grad()
        terms = model.losses("fit", whole.select(slice(start, start + batch_size)), StepInfo(step, steps), {}).terms
        sum(term.weight * term.share for term in terms).backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def uniform_points(count: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(7)
    return (1.1 * torch.rand(1, count, 3, generator=draw) - GRID_HALF_EXTENT).expand(len(HELD_OUT), -1, -1)


def mean_shape(points: torch.Tensor) -> torch.Tensor:
    """The constant answer: inside where half of the training tables are."""
    share = (TRAINED.grid(32) < 0).float().mean(0, keepdim=True)
    return sample_volume(share.expand(len(points), -1, -1, -1, -1), points)[..., 0] > 0.5


@torch.no_grad()
def test_a_view_with_depth_beats_the_mean_shape_and_the_nearest_visible_color() -> None:
    reads = ReadsConfig(pixel="rgba", gap=True, plane=True, nearest=True, mirrored=True)
    config = ImplicitConfig(**SHARED, conditioning=ConditioningConfig(encoding="gap", resolution=16), reads=reads)
    with torch.enable_grad():
        model = trained(config, steps=100)
    batch, points = HELD_OUT.batch(config, points_seed=0), uniform_points(6000)
    scene = model.network.encode(batch)
    inside = HELD_OUT.sdf_and_color(points)[0] < 0
    ours, constant = iou(model.network.decode(scene, points)[0] < 0, inside), iou(mean_shape(points), inside)
    assert ours > constant + 0.25, (ours, constant)
    # A sensor's noise of half a hundredth of the object must not ruin it.
    noise = 0.005 * torch.randn(batch["depth"].shape, generator=torch.Generator().manual_seed(4))
    noisy = replace(batch, fields={**batch.fields, "depth": torch.where(batch["depth"] > 0, batch["depth"] + noise, 0)})
    under_noise = iou(model.network.decode(model.network.encode(noisy), points)[0] < 0, inside)
    assert under_noise > ours - 0.1, (under_noise, ours)
    on_surface, truth = HELD_OUT.surface(500, seed=3)
    color = model.network.decode(scene, on_surface)[1]
    clouds = View(batch).clouds
    nearest = torch.stack([
        cloud.colors[cloud.index.nearest(own)] for cloud, own in zip(clouds, on_surface, strict=True)
    ])  # fmt: skip
    mean = torch.stack([cloud.colors.mean(0) for cloud in clouds])[:, None].expand_as(truth)
    ours, copied, averaged = (float((guess - truth).abs().mean()) for guess in (color, nearest, mean))
    assert ours < min(1.05 * copied, 0.6 * averaged), (ours, copied, averaged)


@torch.no_grad()
def test_told_points_beat_the_mean_shape_and_a_shell_around_the_points() -> None:
    """A hundred points of a surface, without a sign: which side is inside must be learned."""
    reads = ReadsConfig(nearest=True, direction=True, plane=True, neighbors=6, sides=True, mirrored=True)
    conditioning = ConditioningConfig("surface", "distance", resolution=16, num_points=150)
    config = ImplicitConfig(**SHARED, conditioning=conditioning, reads=reads)
    with torch.enable_grad():
        model = trained(config, steps=100)
    batch, points = HELD_OUT.batch(config, points_seed=0), uniform_points(6000)
    inside = HELD_OUT.sdf_and_color(points)[0] < 0
    ours = iou(model.network.decode(model.network.encode(batch), points)[0] < 0, inside)
    constant = iou(mean_shape(points), inside)
    distance = torch.cdist(points, batch["told_points"]).amin(-1)
    shell = max(iou(distance < radius, inside) for radius in (0.02, 0.03, 0.04, 0.06, 0.08))
    assert ours > max(constant, shell) + 0.15, (ours, constant, shell)


@pytest.mark.parametrize(("kind", "margin"), [("gt_sdf", 0.005), ("gt_occupancy", 0.02)])
@torch.no_grad()
def test_a_told_grid_is_improved_on(kind: str, margin: float) -> None:
    """The residual starts at the told grid interpolated, and must not end there."""
    conditioning = ConditioningConfig(kind, resolution=16)  # type: ignore[arg-type]
    config = ImplicitConfig(**SHARED, conditioning=conditioning, residual=True, reads=ReadsConfig(pixel="rgba"))
    with torch.enable_grad():
        model = trained(config, steps=100)
    batch, points = HELD_OUT.batch(config, points_seed=0), uniform_points(6000)
    inside = HELD_OUT.sdf_and_color(points)[0] < 0
    told = sample_volume(batch["voxels"], points)[..., 0]
    interpolated = iou(told < 0 if kind == "gt_sdf" else told > 0.5, inside)
    ours = iou(model.network.decode(model.network.encode(batch), points)[0] < 0, inside)
    assert ours > interpolated + margin, (ours, interpolated)
