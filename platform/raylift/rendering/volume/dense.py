"""The dense volume renderer in plain torch: reads every feature of every sample. Reference, and fallback on a GPU."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.rays import SampledRays


def render_dense(
    grid: VolumeGrid, rays: SampledRays, grid_of_view: Int[Tensor, "V"], num_samples: int
) -> tuple[Float[Tensor, "V C P"], Float[Tensor, "V P"], Float[Tensor, "V P"]]:
    """Features, alpha and depth of every ray, as ``render_volume`` defines them; nothing is skipped or left out.

    It needs memory for (C + some 10) values per sample.
    """
    index = torch.arange(num_samples, device=rays.start.device, dtype=rays.start.dtype)
    points = rays.start[:, :, None] + index[:, None] * rays.step[:, :, None]
    hit = (rays.spacing > 0)[..., None]
    values = torch.cat([grid.density[:, None], grid.features], 1)[grid_of_view]
    # grid_sample's x is the last axis, here the world's z.
    places = (points / grid.half_extent).flip(-1)[..., None, :]
    samples = grid_sample(values, places.flatten(1, 2)[:, None], align_corners=False).flatten(2)
    samples = samples.unflatten(2, points.shape[1:3])
    opacity = opacities(samples[:, 0], rays.spacing[..., None], grid.kind) * hit
    passed = torch.cumprod(1 - opacity, -1)
    light = torch.cat([torch.ones_like(passed[..., :1]), passed[..., :-1]], -1)
    weights = light * opacity
    depths = rays.depth[..., None] + index * rays.depth_step[..., None]
    features = torch.einsum("vpn,vcpn->vcp", weights, samples[:, 1:])
    return features, weights.sum(-1), (weights * depths).sum(-1)


def opacities(values: Tensor, spacing: Tensor, kind: str) -> Tensor:
    """a = 1 - exp(-density * spacing), or the occupancy itself (equation 3 of the shelf-supervised paper)."""
    return values if kind == "occupancy" else -torch.expm1(-values * spacing)
