"""Why a coordinate is stuck: the paper's argument in pixels (adaptive-gradient paper, equations 18-26).

**For analysis: training does not use this.** Everything is written out over all pixels, as in the paper, with x along
the image's width and y along its height, in pixels (pixel centres are whole numbers). Training computes the same
derivative from the four adjacent pixels, in ``adaptive_gradient``; tests compare the two. With the varied image U *
I_var instead of U, the functions here are equations 27 to 30.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class PixelGradient(NamedTuple):
    """Derivatives along the image's width and height, per pixel."""

    x: Float[Tensor, "N"]
    y: Float[Tensor, "N"]


def bilinear_weights(x: Float[Tensor, "N"], y: Float[Tensor, "N"], height: int, width: int) -> Float[Tensor, "N H W"]:
    """lambda_ij = max(0, 1 - |x - i|) max(0, 1 - |y - j|) (adaptive-gradient paper, equation 22)."""
    columns, rows = _hats(x, width), _hats(y, height)
    return rows[:, :, None] * columns[:, None, :]


def sampled_color(image: Float[Tensor, "C H W"], x: Float[Tensor, "N"], y: Float[Tensor, "N"]) -> Float[Tensor, "N C"]:
    """C_xy = sum over i, j of U_ij max(0, 1 - |x - i|) max(0, 1 - |y - j|) (adaptive-gradient paper, equation 18)."""
    return torch.einsum("chw,nhw->nc", image, bilinear_weights(x, y, *image.shape[1:]))


def color_error(color: Float[Tensor, "N C"], target: Float[Tensor, "N C"]) -> Float[Tensor, "N"]:
    """C_xy^rec = (C_xy - C'_xy)^2, summed over channels (adaptive-gradient paper, equation 19)."""
    return (color - target).square().sum(dim=-1)


def sampled_color_error(
    image: Float[Tensor, "C H W"], target: Float[Tensor, "N C"], x: Float[Tensor, "N"], y: Float[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """C_xy^rec = (sum lambda_ij U_ij - C'_xy)^2 (adaptive-gradient paper, equation 23)."""
    return color_error(sampled_color(image, x, y), target)


def pixel_error_gradient(
    image: Float[Tensor, "C H W"], target: Float[Tensor, "N C"], x: Float[Tensor, "N"], y: Float[Tensor, "N"]
) -> PixelGradient:
    """sum 2 (C_xy - C'_xy) U_ij dlambda_ij/dx and dy (adaptive-gradient paper, equations 24 and 25).

    At integer x, where lambda has a kink, the slope towards larger x is used, as in ``grid_sample``.
    """
    height, width = image.shape[1:]
    columns, rows = _hats(x, width), _hats(y, height)
    along_x = rows[:, :, None] * _hat_slopes(x, width)[:, None, :]
    along_y = _hat_slopes(y, height)[:, :, None] * columns[:, None, :]
    color = sampled_color(image, x, y)
    slope_x, slope_y = (torch.einsum("chw,nhw->nc", image, along) for along in (along_x, along_y))
    error = 2 * (color - target)
    return PixelGradient((error * slope_x).sum(dim=-1), (error * slope_y).sum(dim=-1))


def is_stuck(
    image: Float[Tensor, "C H W"], x: Float[Tensor, "N"], y: Float[Tensor, "N"], tolerance: float = 0.0
) -> Bool[Tensor, "N"]:
    """Whether both derivatives vanish because all U_ij around are the same (adaptive-gradient paper, equation 26).

    The weights sum to one at any coordinate, so equal pixels leave no gradient anywhere between them: the
    paper's second condition, the centre of a grid cell, is not needed.
    """
    x0 = x.floor().long().clamp(0, image.shape[2] - 2)
    y0 = y.floor().long().clamp(0, image.shape[1] - 2)
    around = torch.stack([image[:, y0 + down, x0 + right] for down in (0, 1) for right in (0, 1)])
    return ((around.amax(dim=0) - around.amin(dim=0)) <= tolerance).all(dim=0)


def _hats(x: Tensor, count: int) -> Tensor:
    """max(0, 1 - |x - i|) for i = 0 .. count - 1: [N, count]."""
    return (1 - (x[:, None] - torch.arange(count, device=x.device, dtype=x.dtype)).abs()).clamp(min=0)


def _hat_slopes(x: Tensor, count: int) -> Tensor:
    """Derivatives of ``_hats`` with respect to x: -1 for the pixel at or before x, +1 for the next one."""
    before = x.floor()[:, None]
    index = torch.arange(count, device=x.device, dtype=x.dtype)
    return (index == before + 1).to(x.dtype) - (index == before).to(x.dtype)
