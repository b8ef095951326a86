"""The compiled ray-marcher as one differentiable step, on the CPU, in float32 or float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_boxes import num_bands
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march_gradient_kernels import gradient_parts
from raylift.rendering.volume.march_kernels import BRICK, mark_bricks, render_bands
from raylift.rendering.volume.memory import num_gradient_parts
from raylift.rendering.volume.rays import SampledRays


def render_compiled(
    grid: VolumeGrid,
    rays: SampledRays,
    grid_of_view: Int[Tensor, "V"],
    num_samples: int,
    min_weight: float,
    stop_transmittance: float,
) -> tuple[Float[Tensor, "V C P"], Float[Tensor, "V P"], Float[Tensor, "V P"]]:
    """Features, alpha and depth of every ray; gradients reach density, features and rays, theirs have none."""
    density, features = pad(grid.density, (1,) * 6), pad(grid.features, (1,) * 6).permute(0, 2, 3, 4, 1)
    limit = skipped_below(grid, num_samples, min_weight)
    settings = num_samples, grid.kind == "occupancy", min_weight, stop_transmittance
    seen, alpha, depth = _March.apply(density, features, _in_cells(rays, grid), grid_of_view, limit, settings)
    return seen, alpha, depth


def skipped_below(grid: VolumeGrid, num_samples: int, min_weight: float) -> float:
    """Density up to which space counts as empty: all samples of the longest ray stop less than min_weight / 2."""
    opacity = min_weight / 2 / num_samples
    if grid.kind == "occupancy":
        return opacity
    return -math.log1p(-opacity) / (2 * math.sqrt(3) * grid.half_extent / num_samples)


def _in_cells(rays: SampledRays, grid: VolumeGrid) -> Float[Tensor, "V P 9"]:
    """Start and step in cells from the first padded cell's centre, then spacing, depth and depth step."""
    size = rays.start.new_tensor(grid.density.shape[1:])
    scale = size / (2 * grid.half_extent)
    alone = torch.stack([rays.spacing, rays.depth, rays.depth_step], -1)
    return torch.cat([rays.start * scale + (size + 1) / 2, rays.step * scale, alone], -1)


class _March(torch.autograd.Function):
    """The kernels with their memory."""

    @staticmethod
    def forward(
        ctx: Any,
        density: Tensor,
        features: Tensor,
        rays: Tensor,
        grid_of_view: Tensor,
        limit: float,
        settings: tuple[int, bool, float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        density, features, rays = (tensor.detach().contiguous() for tensor in (density, features, rays))
        count, pixels, channels = rays.shape[0], rays.shape[1], features.shape[4]
        occupied = np.empty((len(density), *(-(-(size - 1) // BRICK) for size in density.shape[1:])), np.uint8)
        run_tasks(mark_bricks, len(density), density.numpy(), limit, occupied)
        seen, alpha = rays.new_empty(count, channels, pixels), rays.new_empty(count, pixels)
        depth = torch.empty_like(alpha)
        owner = np.ascontiguousarray(grid_of_view.numpy(), np.int64)
        inputs = rays.numpy(), owner, density.numpy(), features.numpy(), occupied
        bands = num_bands(count, math.isqrt(pixels))
        run_tasks(render_bands, count * bands, bands, *inputs, *settings, seen.numpy(), alpha.numpy(), depth.numpy())
        ctx.save_for_backward(density, features, rays)
        ctx.settings = owner, occupied, settings
        return seen, alpha, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_seen: Tensor, by_alpha: Tensor, by_depth: Tensor) -> tuple[Tensor | None, ...]:
        density, features, rays = ctx.saved_tensors
        owner, occupied, settings = ctx.settings
        wanted = bool(ctx.needs_input_grad[1]), bool(ctx.needs_input_grad[2])
        parts = num_gradient_parts(density.shape, features.shape[4], density.element_size())
        pulls = torch.cat([by_seen.mT, by_alpha[..., None], by_depth[..., None]], -1)
        by_density = density.new_zeros(len(density), parts, *density.shape[1:])
        by_features = features.new_zeros(len(density), parts, *features.shape[1:] if wanted[0] else (0, 0, 0, 1))
        by_rays = torch.zeros_like(rays)
        order = np.argsort(owner, kind="stable")
        ends = np.searchsorted(owner[order], np.arange(len(density)), side="right")
        inputs = rays.numpy(), order, ends, density.numpy(), features.numpy(), occupied
        outputs = by_density.numpy(), by_features.numpy(), by_rays.numpy()
        run_tasks(gradient_parts, len(density) * parts, parts, *inputs, *settings, wanted, pulls.numpy(), *outputs)
        return (
            by_density.sum(1) if ctx.needs_input_grad[0] else None,
            by_features.sum(1) if wanted[0] else None,
            by_rays if wanted[1] else None,
            None,
            None,
            None,
        )
