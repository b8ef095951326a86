"""Rays through pixel centres, cut to a volume's box, with equidistant samples: a differentiable function of the camera.

The parameter of a ray is z, the depth in camera axes: a point is ``origin + z * direction``, with a direction that is
one unit long in z. Both ends of a ray move with the camera, and so do all samples between them; autograd goes through
the cut too. A ray's nearest side of the box changes only at the box's edges, where both sides agree, so that samples
move continuously.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import pixel_centers

LEAST_DIRECTION = 1e-9
"""Components of a direction below this count as parallel to the box's sides."""


@dataclass(frozen=True)
class SampledRays:
    """N samples of P rays of V views: sample i is at ``start + i * step``, at depth ``depth + i * depth_step``.

    Attributes:
        start: first sample, world units.
        step: from one sample to the next, world units.
        spacing: length of ``step``; 0 where a ray misses the box.
        depth: z in camera axes of the first sample.
        depth_step: z from one sample to the next.
    """

    start: Float[Tensor, "V P 3"]
    step: Float[Tensor, "V P 3"]
    spacing: Float[Tensor, "V P"]
    depth: Float[Tensor, "V P"]
    depth_step: Float[Tensor, "V P"]


def sample_rays(camera: Camera, image_px: int, half_extent: float, num_samples: int) -> SampledRays:
    """Samples at the midpoints of N equal parts of each ray inside [-half_extent, half_extent]^3.

    Perspective rays start at the camera's centre at the earliest. Orthographic ones have no start: what is at a
    negative depth is seen too.

    Args:
        camera: V cameras; gradients reach their four tensors.
        image_px: side of the image in pixels; P = image_px^2, row by row.
    """
    origin, direction = _lines(camera, image_px)
    parallel = direction.abs() < LEAST_DIRECTION
    divisor = torch.where(parallel, torch.full_like(direction, LEAST_DIRECTION), direction)
    first, second = (-half_extent - origin) / divisor, (half_extent - origin) / divisor
    entry = torch.minimum(first, second).max(-1).values
    leave = torch.maximum(first, second).min(-1).values
    if camera.projection == "perspective":
        entry = entry.clamp(min=0)
    hit, nothing = leave > entry, torch.zeros_like(entry)
    entry, leave = torch.where(hit, entry, nothing), torch.where(hit, leave, nothing)
    depth_step = (leave - entry) / num_samples
    depth = entry + depth_step / 2
    return SampledRays(
        start=origin + depth[..., None] * direction,
        step=depth_step[..., None] * direction,
        spacing=depth_step * direction.norm(dim=-1),
        depth=depth,
        depth_step=depth_step,
    )


def _lines(camera: Camera, image_px: int) -> tuple[Float[Tensor, "V P 3"], Float[Tensor, "V P 3"]]:
    """Origin (z = 0) and direction (one unit of z) of the ray through every pixel's centre.

    Without matrix products, which autocast would compute in bfloat16.
    """
    uv = pixel_centers(image_px, image_px, camera.focal.device, camera.focal.dtype).reshape(1, -1, 2)
    plane = (uv - camera.principal[:, None]) / camera.focal[:, None]
    right, down, forward = camera.rotation[:, None].unbind(2)
    center = -(camera.rotation * camera.translation[..., None]).sum(1)[:, None]
    across = plane[..., :1] * right + plane[..., 1:] * down
    if camera.projection == "perspective":
        return center.expand_as(across), across + forward
    return center + across, forward.expand_as(across)
