"""A volume as a field with a surface: its values, and the colours that a ray sees there."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.networks.volumes.volume import Volume

NUM_STEPS = 8
STEP = 0.5
"""Of a ray behind the surface: number of samples, and their distance in cells of the baked grid."""


@torch.no_grad()
def values(volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """The field's scalar of a single volume: negative inside."""
    return volume.values(points[None])[0]


@torch.no_grad()
def query(volume: Volume, points: Float[Tensor, "N 3"]) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
    """Scalars, and the colours seen from outside.

    A render's colour is that of the samples which stop its ray, most of them behind the iso-surface: the colour of the
    surface itself is trained by almost no ray. So each point's colour is composited along a short ray inwards, against
    the gradient of the scalar, as the renderer would.
    """
    step = STEP * 2 * volume.half_extent / volume.bake_resolution
    offsets = step * torch.arange(NUM_STEPS, device=points.device, dtype=points.dtype)
    inwards = -_gradient(volume, points, step)
    along = points[:, None] + offsets[:, None] * inwards[:, None]
    flat = along.flatten(0, 1)[None]
    density = volume.density(flat)[0].unflatten(0, along.shape[:2])
    hit = density if volume.geometry.density_kind == "occupancy" else 1 - torch.exp(-density * step)
    passed = torch.cat([torch.ones_like(hit[:, :1]), 1 - hit], dim=1).cumprod(dim=1)
    weight = hit * passed[:, :-1]
    # What is left goes on to the last sample, so that the weights add up to 1.
    weight[:, -1] += passed[:, -1]
    colors = volume.features(flat)[0].unflatten(0, along.shape[:2])
    return values(volume, points), (weight[..., None] * colors).sum(dim=1)


def _gradient(volume: Volume, points: Float[Tensor, "N 3"], step: float) -> Float[Tensor, "N 3"]:
    """Unit gradient of the scalar by central differences; 0 where the scalar is constant."""
    shifts = step * torch.eye(3, device=points.device, dtype=points.dtype)
    both = torch.cat([points + sign * shift for shift in shifts for sign in (1.0, -1.0)])
    up_x, down_x, up_y, down_y, up_z, down_z = values(volume, both).chunk(6)
    slope = torch.stack([up_x - down_x, up_y - down_y, up_z - down_z], dim=1)
    return slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
