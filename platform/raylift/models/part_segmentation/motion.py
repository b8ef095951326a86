"""Augments each image to a second view: moved, bent and recoloured, by draws keyed by the sample (law 3)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.device_copies import constant, numbers_of, upload
from raylift.core.generators import torch_generator
from raylift.geometry.thin_plate import ThinPlate, control_grid, fit_thin_plate, warp_maps
from raylift.models.part_segmentation.config import MotionConfig
from raylift.rendering.image_changes import LUMA, stretched


def draw_warps(config: MotionConfig, seed: int, step: int, keys: Tensor, like: Tensor) -> ThinPlate:
    """Draw one warp per sample: a similarity, then a normal offset of every control point.

    A warp maps each pixel of the moved image to its source.

    Args:
        keys: keys of the samples, int64 [B].
        like: tensor of the wanted device and type.
    """
    centers = control_grid(config.control_points)
    targets = torch.stack([_targets(config, seed, step, key, centers) for key in numbers_of(keys)])
    return fit_thin_plate(upload(centers, like.device).to(like), upload(targets, like.device).to(like))


def _targets(config: MotionConfig, seed: int, step: int, key: int, centers: Tensor) -> Tensor:
    draws = torch_generator(seed, step, key, "parts", "warp")
    turn, size, *shift = (2 * torch.rand(4, generator=draws) - 1).tolist()
    angle, scale = math.radians(config.rotation_deg) * turn, math.exp(config.scale * size)
    rotation = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    bends = config.bend * torch.randn(centers.shape, generator=draws)
    return scale * centers @ rotation + config.shift * torch.tensor(shift) + bends


def move_image(image: Float[Tensor, "B 3 H W"], warp: ThinPlate) -> Float[Tensor, "B 3 H W"]:
    """Warp the image; pixels from outside are white, like the background."""
    return 1 - warp_maps(1 - image, warp)


def move_responses(responses: Float[Tensor, "B C H W"], warp: ThinPlate) -> Float[Tensor, "B C H W"]:
    """T_s(R): warp responses; pixels from outside are background. They still add up to 1."""
    parts = warp_maps(responses[:, 1:], warp)
    return torch.cat([1 - parts.sum(dim=1, keepdim=True), parts], dim=1)


def recolor(
    image: Float[Tensor, "B 3 H W"], config: MotionConfig, seed: int, step: int, keys: Tensor
) -> Float[Tensor, "B 3 H W"]:
    """Change saturation, contrast, brightness and tint, within [0, 1]."""
    factors = torch.stack(
        [torch.rand(6, generator=torch_generator(seed, step, key, "parts", "color")) for key in numbers_of(keys)]
    )
    factors = upload(1 + config.color * (2 * factors - 1), image.device).to(image)[:, :, None, None]
    grey = torch.einsum("bchw,c->bhw", image, constant(LUMA, image))[:, None]
    saturated = stretched(image, grey, factors[:, :1])
    contrasted = stretched(saturated, 0.5, factors[:, 1:2])
    return (factors[:, 2:3] * factors[:, 3:6] * contrasted).clamp(0, 1)
