"""What moves a sampling coordinate, and what a variance image adds (adaptive-gradient paper, equations 15-30).

Equations 18-30 are written out over all pixels, as the paper has them, with x along the image's width and y along its
height in pixels (pixel centres are whole numbers). Equations 15-17 are the same derivative in normalised coordinates,
from the four pixels that matter; ``coordinate_search`` trains with it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.errors import ConfigError


class PixelGradient(NamedTuple):
    """Derivatives along the image's width and height, a pixel."""

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


def error_gradient(
    color: Float[Tensor, "N C"], target: Float[Tensor, "N C"], color_slope: Float[Tensor, "N C"]
) -> Float[Tensor, "N"]:
    """2 (C_xy - C'_xy) dC_xy/dx, or dy, summed over channels (adaptive-gradient paper, equations 20 and 21)."""
    return (2 * (color - target) * color_slope).sum(dim=-1)


def pixel_error_gradient(
    image: Float[Tensor, "C H W"], target: Float[Tensor, "N C"], x: Float[Tensor, "N"], y: Float[Tensor, "N"]
) -> PixelGradient:
    """sum 2 (C_xy - C'_xy) U_ij dlambda_ij/dx and dy (adaptive-gradient paper, equations 24 and 25).

    Where x is a whole number, and lambda has a kink, the slope towards larger x is taken, as ``grid_sample`` does.
    """
    height, width = image.shape[1:]
    columns, rows = _hats(x, width), _hats(y, height)
    along_x = rows[:, :, None] * _hat_slopes(x, width)[:, None, :]
    along_y = _hat_slopes(y, height)[:, :, None] * columns[:, None, :]
    color = sampled_color(image, x, y)
    return PixelGradient(
        error_gradient(color, target, torch.einsum("chw,nhw->nc", image, along_x)),
        error_gradient(color, target, torch.einsum("chw,nhw->nc", image, along_y)),
    )


def is_stuck(
    image: Float[Tensor, "C H W"], x: Float[Tensor, "N"], y: Float[Tensor, "N"], tolerance: float = 0.0
) -> Bool[Tensor, "N"]:
    """Whether both derivatives vanish because all U_ij around are the same (adaptive-gradient paper, equation 26).

    The weights sum to one wherever the coordinate lies, so equal pixels leave no gradient anywhere between them: the
    paper's second condition, the centre of a grid cell, is not needed.
    """
    x0 = x.floor().long().clamp(0, image.shape[2] - 2)
    y0 = y.floor().long().clamp(0, image.shape[1] - 2)
    around = torch.stack([image[:, y0 + down, x0 + right] for down in (0, 1) for right in (0, 1)])
    return ((around.amax(dim=0) - around.amin(dim=0)) <= tolerance).all(dim=0)


def varied_pixel_error_gradient(
    image: Float[Tensor, "C H W"],
    variance: Float[Tensor, "V H W"],
    target: Float[Tensor, "N C"],
    x: Float[Tensor, "N"],
    y: Float[Tensor, "N"],
) -> PixelGradient:
    """sum 2 (C_xy - C'_xy) U'_ij dlambda_ij/dx and dy with U'_ij = U_ij I_var^ij (the paper's equations 27-30).

    C_xy is the colour of the varied image too, which is what is sampled (equation 11).

    Args:
        variance: I_var, of one channel or of the image's.
    """
    return pixel_error_gradient(image * variance, target, x, y)


def sampling_gradient(image: Float[Tensor, "B C H W"], coordinates: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C 2"]:
    """h(I, theta_c) = d Grid_Sample(I, theta_c) / d theta_c (adaptive-gradient paper, equation 15; 16 with I').

    Written out, because ``grid_sample`` has no second derivative: this one can be differentiated again, by the image
    and by the coordinates.

    Args:
        image: the sampling image I or, in equation 16, I'; at least 2 x 2 pixels.
        coordinates: theta_c, normalised (u, v) in [-1, 1].

    Returns:
        Colour a unit of normalised coordinates; 0 at and beyond the outermost pixel centres.

    Raises:
        ConfigError: the image is smaller than 2 x 2.
    """
    (p00, p01, p10, p11), right, down = _around(image, coordinates)
    height, width = image.shape[-2:]
    along_x = torch.lerp(p01 - p00, p11 - p10, down) * (width / 2)
    along_y = torch.lerp(p10 - p00, p11 - p01, right) * (height / 2)
    inside = (_pixels(coordinates, height, width) > 0) & (
        _pixels(coordinates, height, width) < coordinates.new_tensor([width - 1, height - 1])
    )
    return torch.stack([along_x, along_y], dim=-1) * inside[:, :, None]


def varied_sampling_gradient(
    image: Float[Tensor, "B C H W"], variance: Float[Tensor, "B V H W"], coordinates: Float[Tensor, "B N 2"]
) -> Float[Tensor, "B N C 2"]:
    """I_grad^new = d Grid_Sample(I_r * I_var, theta_c) / d theta_c (adaptive-gradient paper, equation 17)."""
    return sampling_gradient(image * variance, coordinates)


def sample_at(image: Float[Tensor, "B C H W"], coordinates: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """Equation 18 at many coordinates, from four pixels each; ``grid_sample`` with any number of derivatives.

    Raises:
        ConfigError: the image is smaller than 2 x 2.
    """
    (p00, p01, p10, p11), right, down = _around(image, coordinates)
    return torch.lerp(torch.lerp(p00, p01, right), torch.lerp(p10, p11, right), down)


def _hats(x: Tensor, count: int) -> Tensor:
    """max(0, 1 - |x - i|) for i = 0 .. count - 1: [N, count]."""
    return (1 - (x[:, None] - torch.arange(count, device=x.device, dtype=x.dtype)).abs()).clamp(min=0)


def _hat_slopes(x: Tensor, count: int) -> Tensor:
    """Their derivatives by x: -1 for the pixel at or before x, +1 for the next one."""
    before = x.floor()[:, None]
    index = torch.arange(count, device=x.device, dtype=x.dtype)
    return (index == before + 1).to(x.dtype) - (index == before).to(x.dtype)


def _pixels(coordinates: Tensor, height: int, width: int) -> Tensor:
    """Normalised coordinates in pixels: (x, y), pixel centres at whole numbers."""
    size = coordinates.new_tensor([width, height])
    return ((coordinates + 1) * size - 1) / 2


def _around(image: Tensor, coordinates: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """The four pixels around each coordinate [B, N, C], and how far right and down it lies between them [B, N, 1]."""
    batch, channels, height, width = image.shape
    if min(height, width) < 2:
        raise ConfigError(f"a sampling image of {height} x {width} pixels", "give at least 2 x 2")
    limit = coordinates.new_tensor([width - 1, height - 1])
    place = torch.minimum(_pixels(coordinates, height, width).clamp(min=0), limit)
    corner = torch.minimum(place.detach().floor(), limit - 1)
    right, down = (place - corner).unbind(-1)
    x0, y0 = corner.long().unbind(-1)
    flat = image.reshape(batch, channels, -1)

    def pixel(step_down: int, step_right: int) -> Tensor:
        index = ((y0 + step_down) * width + x0 + step_right)[:, None].expand(-1, channels, -1)
        return flat.gather(2, index).mT

    return (pixel(0, 0), pixel(0, 1), pixel(1, 0), pixel(1, 1)), right[..., None], down[..., None]
