"""Volumes and cameras that the tests of the volume renderer share."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import GRID_HALF_EXTENT, Camera, Projection
from raylift.geometry.cameras import orbit_views
from raylift.rendering.volume.dense import render_dense
from raylift.rendering.volume.grid import VolumeGrid, VolumeKind
from raylift.rendering.volume.march import VolumeView, render_volume
from raylift.rendering.volume.rays import sample_rays

CAMERA_PARTS = ("focal", "principal", "rotation", "translation")


def cameras(count: int, projection: Projection = "perspective", dtype: torch.dtype = torch.float64) -> Camera:
    """Views from around the volume, none of them along an axis."""
    views = orbit_views(count, start_azimuth_deg=17).to("cpu", dtype)
    scale = 1.1 if projection == "perspective" else 0.9 / float(views.focal[0, 0])
    return replace(views, focal=views.focal * scale, principal=views.principal + 0.03, projection=projection)


def random_grid(
    kind: VolumeKind, shape: tuple[int, int, int, int] = (2, 5, 6, 7), channels: int = 3, seed: int = 0
) -> VolumeGrid:
    """Half of the light passes; float64."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.rand(shape, generator=generator, dtype=torch.float64)
    batch, *sizes = shape
    features = torch.randn(batch, channels, *sizes, generator=generator, dtype=torch.float64)
    return VolumeGrid(density * (0.3 if kind == "occupancy" else 3), features, kind=kind)


def cell_centers(resolution: int, half_extent: float = GRID_HALF_EXTENT) -> Float[Tensor, "R R R 3"]:
    """World positions of a grid's cells, indexed [x, y, z]; float64."""
    axis = ((torch.arange(resolution, dtype=torch.float64) + 0.5) / resolution * 2 - 1) * half_extent
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def soft_box(
    center: tuple[float, float, float],
    half: tuple[float, float, float],
    resolution: int = 24,
    softness: float = 0.02,
) -> Float[Tensor, "R R R"]:
    """Inside of a box as 1, outside as 0, with a sigmoid of the distance over ``softness``; float64."""
    offset = (cell_centers(resolution) - torch.tensor(center, dtype=torch.float64)).abs()
    distance = (offset - torch.tensor(half, dtype=torch.float64)).amax(-1)
    return torch.sigmoid(-distance / softness)


def chair(batch: int = 1, resolution: int = 24, level: float = 60.0, softness: float = 0.02) -> VolumeGrid:
    """A seat, a back and four legs of smooth colours, in empty space; float32."""
    boxes = [((0.0, -0.02, 0.0), (0.3, 0.04, 0.3)), ((0.0, 0.25, -0.25), (0.3, 0.25, 0.05))]
    boxes += [((x, -0.27, z), (0.05, 0.24, 0.05)) for x in (-0.25, 0.25) for z in (-0.25, 0.25)]
    parts = [soft_box(center, half, resolution, softness) for center, half in boxes]
    inside = torch.stack(parts).amax(0)
    colors = (0.5 + 0.5 * torch.sin(6 * cell_centers(resolution))).movedim(-1, 0)
    return VolumeGrid(
        (level * inside).float()[None].repeat(batch, 1, 1, 1), colors.float()[None].repeat(batch, 1, 1, 1, 1)
    )


def render_densely(
    grid: VolumeGrid, camera: Camera, image_px: int, num_samples: int, owner: Tensor | None = None
) -> VolumeView:
    """The dense renderer behind the marcher's interface."""
    rays = sample_rays(camera, image_px, grid.half_extent, num_samples)
    owner = torch.arange(len(camera)) if owner is None else owner
    features, alpha, depth = render_dense(grid, rays, owner, num_samples)
    square = (image_px, image_px)
    return VolumeView(
        features.unflatten(-1, square), alpha[:, None].unflatten(-1, square), depth[:, None].unflatten(-1, square)
    )


def render_exactly(
    grid: VolumeGrid, camera: Camera, image_px: int, num_samples: int, owner: Tensor | None = None
) -> VolumeView:
    """The marcher without its thresholds."""
    return render_volume(grid, camera, image_px, num_samples, owner, min_weight=0, stop_transmittance=0)


def stacked(view: VolumeView) -> Float[Tensor, "V N H W"]:
    """All that was seen, as one tensor."""
    return torch.cat([view.features, view.alpha, view.depth], 1)


def leaves_of(grid: VolumeGrid, camera: Camera) -> list[Tensor]:
    """Density, features and the camera's four tensors, as inputs of gradients."""
    parts = [grid.density, grid.features, *(getattr(camera, part) for part in CAMERA_PARTS)]
    return [part.detach().clone().requires_grad_() for part in parts]


def of_leaves(leaves: list[Tensor], grid: VolumeGrid, camera: Camera) -> tuple[VolumeGrid, Camera]:
    """A grid and cameras with these tensors."""
    density, features, *parts = leaves
    return (
        replace(grid, density=density, features=features),
        replace(camera, **dict(zip(CAMERA_PARTS, parts, strict=True))),
    )
