"""The ray-marcher on a GPU, by Triton kernels, as one differentiable step in float32 or float64."""

from __future__ import annotations

from typing import Any

import torch
import triton
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from raylift.rendering.volume import triton_kernels as kernels
from raylift.rendering.volume.compiled import ray_cells, skipped_below
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.rays import SampledRays

BLOCK = 64
"""Rays per program."""
CHUNK = 2**18
"""Rays per launch: the record of a march takes three values per sample."""


def render_fused(
    grid: VolumeGrid,
    rays: SampledRays,
    grid_of_view: Int[Tensor, "V"],
    num_samples: int,
    min_weight: float,
    stop_transmittance: float,
) -> tuple[Float[Tensor, "V C P"], Float[Tensor, "V P"], Float[Tensor, "V P"]]:
    """What ``render_compiled`` returns; gradients by cells are summed in no fixed order."""
    views, pixels = rays.spacing.shape
    density = pad(grid.density, (1,) * 6)
    features = pad(grid.features, (1,) * 6).permute(0, 2, 3, 4, 1)
    owner = grid_of_view.repeat_interleave(pixels)
    limit = skipped_below(grid, num_samples, min_weight)
    settings = num_samples, grid.kind == "occupancy", limit, min_weight, stop_transmittance
    seen, alpha, depth = _Fused.apply(density, features, ray_cells(rays, grid).flatten(0, 1), owner, settings)
    return seen.unflatten(0, (views, pixels)).mT, alpha.view(views, pixels), depth.view(views, pixels)


class _March:
    """The record of a march of some rays: opacity, light and read weight [N, R], and each ray's last record."""

    def __init__(self, density: Tensor, rays: Tensor, owner: Tensor, settings: tuple[int, bool, float, float, float]):
        num_samples, occupancy, limit, min_weight, stop = settings
        count = len(rays)
        self.grid = (triton.cdiv(count, BLOCK),)
        self.sizes = count, num_samples, *density.shape[1:]
        self.opacity, self.light = rays.new_empty(2, num_samples, count)
        self.read_weight = rays.new_full((num_samples, count), kernels.ENDED.value)
        self.last = owner.new_empty(count, dtype=torch.int32)
        self.alpha, self.depth = rays.new_empty(2, count)
        records = self.opacity, self.light, self.read_weight, self.last
        kernels.march[self.grid](
            *(rays, owner, density, *records, self.alpha, self.depth, *self.sizes, limit, min_weight, stop),
            OCCUPANCY=occupancy,
            SKIPS=min_weight > 0,
            STOPS=stop > 0,
            BLOCK=BLOCK,
        )


class _Fused(torch.autograd.Function):
    """The kernels with their memory, over R rays of all views."""

    @staticmethod
    def forward(
        ctx: Any,
        density: Tensor,
        features: Tensor,
        rays: Tensor,
        owner: Tensor,
        settings: tuple[int, bool, float, float, float],
    ) -> tuple[Tensor, Tensor, Tensor]:
        density, features, rays = (part.detach().contiguous() for part in (density, features, rays))
        channels = features.shape[4]
        seen, alpha, depth = rays.new_empty(len(rays), channels), rays.new_empty(len(rays)), rays.new_empty(len(rays))
        with torch.cuda.device_of(rays):
            for part in _chunks(len(rays)):
                march = _March(density, rays[part], owner[part], settings)
                alpha[part], depth[part] = march.alpha, march.depth
                inputs = rays[part], owner[part], features, march.read_weight, seen[part]
                kernels.gather[march.grid](*inputs, *march.sizes, channels, LANES=_lanes(channels), BLOCK=BLOCK)
        ctx.save_for_backward(density, features, rays, owner)
        ctx.settings = settings
        return seen, alpha, depth

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_seen: Tensor, by_alpha: Tensor, by_depth: Tensor) -> tuple[Tensor | None, ...]:
        density, features, rays, owner = ctx.saved_tensors
        channels, with_features = features.shape[4], bool(ctx.needs_input_grad[1])
        by_density, by_rays = torch.zeros_like(density), torch.zeros_like(rays)
        by_features = torch.zeros_like(features) if with_features else features.new_empty(1)
        pulls = [pull.contiguous() for pull in (by_seen, by_alpha, by_depth)]
        with torch.cuda.device_of(rays):
            for part in _chunks(len(rays)):
                march = _March(density, rays[part], owner[part], ctx.settings)
                kernels.backward[march.grid](
                    *(rays[part], owner[part], density, features),
                    *(march.opacity, march.light, march.read_weight, march.last),
                    *(pull[part] for pull in pulls),
                    *(by_density, by_features, by_rays[part], *march.sizes, channels),
                    OCCUPANCY=ctx.settings[1],
                    WITH_FEATURES=with_features,
                    LANES=_lanes(channels),
                    BLOCK=BLOCK,
                )
        wanted = zip((by_density, by_features, by_rays), ctx.needs_input_grad, strict=False)
        return *(gradient if needed else None for gradient, needed in wanted), None, None


def _chunks(count: int) -> list[slice]:
    return [slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _lanes(channels: int) -> int:
    """The next power of two: what Triton's ranges take."""
    return int(triton.next_power_of_2(channels))
