"""The compiled ray-marcher as one differentiable step, on the CPU, in float32 or float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_boxes import num_bands
from raylift.rendering.volume.cells import mark_bricks, num_bricks, num_lanes, pack_volumes, unpack_volumes
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march_gradient_kernels import gradient_parts
from raylift.rendering.volume.march_kernels import render_bands
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
    limit = skipped_below(grid, num_samples, min_weight)
    settings = num_samples, grid.kind == "occupancy", limit, min_weight, stop_transmittance
    seen, alpha, depth = _March.apply(
        grid.density[:, None], grid.features, ray_cells(rays, grid), grid_of_view, settings
    )
    return seen, alpha, depth


def skipped_below(grid: VolumeGrid, num_samples: int, min_weight: float) -> float:
    """Density up to which space counts as empty: all samples of the longest ray stop less than min_weight / 2."""
    opacity = min_weight / 2 / num_samples
    if grid.kind == "occupancy":
        return opacity
    return -math.log1p(-opacity) / (2 * math.sqrt(3) * grid.half_extent / num_samples)


def ray_cells(rays: SampledRays, grid: VolumeGrid) -> Float[Tensor, "V P 9"]:
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
        settings: tuple[int, bool, float, float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        rays = rays.detach().contiguous()
        cells, colors = _packed(density, 1), _packed(features, num_lanes(features.shape[1]))
        batch, *size = cells.shape[:4]
        occupied = np.empty((batch, *(num_bricks(edge) for edge in size)), np.uint8)
        run_tasks(mark_bricks, batch, cells[..., 0].numpy(), settings[2], occupied)
        occupied = occupied.reshape(batch, -1)
        count, pixels = rays.shape[:2]
        seen, alpha = rays.new_empty(count, features.shape[1], pixels), rays.new_empty(count, pixels)
        depth = torch.empty_like(alpha)
        opacities = rays.new_empty(count if any(ctx.needs_input_grad) else 0, pixels, settings[0])
        ctx.owner = np.ascontiguousarray(grid_of_view.numpy(), np.int64)
        ctx.settings = tuple(size), *settings
        bands = num_bands(count, math.isqrt(pixels))
        inputs = rays.numpy(), ctx.owner, _in_rows(cells), _in_rows(colors), occupied
        outputs = seen.numpy(), alpha.numpy(), depth.numpy(), opacities.numpy()
        run_tasks(render_bands, count * bands, bands, *inputs, *ctx.settings, *outputs)
        ctx.save_for_backward(cells, colors, rays, opacities)
        return seen, alpha, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_seen: Tensor, by_alpha: Tensor, by_depth: Tensor) -> tuple[Tensor | None, ...]:
        cells, colors, rays, opacities = ctx.saved_tensors
        batch, lanes, channels = len(cells), colors.shape[4], by_seen.shape[1]
        wanted = bool(ctx.needs_input_grad[1]), bool(ctx.needs_input_grad[2])
        parts = num_gradient_parts(cells.shape, lanes, cells.element_size())
        by_cells = cells.new_zeros(batch, parts, *cells.shape[1:])
        by_colors = cells.new_zeros(batch, parts, *(colors.shape[1:] if wanted[0] else (0, 0, 0, 0)))
        by_rays = torch.zeros_like(rays)
        order = np.argsort(ctx.owner, kind="stable")
        ends = np.searchsorted(ctx.owner[order], np.arange(batch), side="right")
        inputs = rays.numpy(), order, ends, _in_rows(cells), _in_rows(colors), opacities.numpy()
        size, num_samples, occupancy, _, min_weight, stop = ctx.settings
        settings = size, num_samples, occupancy, min_weight, stop
        pulls = (part.contiguous().numpy() for part in (by_seen, by_alpha, by_depth))
        outputs = _in_rows(by_cells.flatten(0, 1)), _in_rows(by_colors.flatten(0, 1)), by_rays.numpy()
        run_tasks(gradient_parts, batch * parts, parts, *inputs, *settings, wanted, *pulls, *outputs)
        return (
            _unpacked(by_cells, 1) if ctx.needs_input_grad[0] else None,
            _unpacked(by_colors, channels) if wanted[0] else None,
            by_rays if wanted[1] else None,
            None,
            None,
        )


def _packed(values: Float[Tensor, "B C X Y Z"], lanes: int) -> Float[Tensor, "B X+2 Y+2 Z+2 L"]:
    packed = values.new_empty(len(values), *(size + 2 for size in values.shape[2:]), lanes)
    run_tasks(pack_volumes, len(values), values.detach().contiguous().numpy(), packed.numpy())
    return packed


def _unpacked(parts: Float[Tensor, "B N X+2 Y+2 Z+2 L"], channels: int) -> Float[Tensor, "B C X Y Z"]:
    values = parts.new_empty(len(parts), channels, *(size - 2 for size in parts.shape[2:5]))
    run_tasks(unpack_volumes, len(parts), parts.numpy(), values.numpy())
    return values


def _in_rows(cells: Float[Tensor, "B *cells"]) -> np.ndarray:
    """All values of a volume in one row."""
    return cells.flatten(1).numpy()
