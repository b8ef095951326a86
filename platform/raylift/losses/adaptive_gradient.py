"""How a sampled colour moves the coordinate that it is read at (adaptive-gradient paper, equations 15-21, 24-30).

Everything is in normalised coordinates, from the four adjacent pixels, and can be differentiated again with respect to
the image and the coordinates; ``coordinate_search`` trains with it. ``adaptive_gradient_analysis`` has the paper's
argument.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.core.errors import ConfigError


def sampling_gradient(image: Float[Tensor, "B C H W"], coordinates: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C 2"]:
    """h(I, theta_c) = d Grid_Sample(I, theta_c) / d theta_c (adaptive-gradient paper, equations 15 to 17).

    Written out, because ``grid_sample`` has no second derivative: this one can be differentiated again, with respect to
    the image and the coordinates.

    Args:
        image: the sampling image: I (equation 15), another image I' (16), or I_r * I_var (17); at least 2 x 2 pixels.
        coordinates: theta_c, normalised (u, v) in [-1, 1].

    Returns:
        Colour per unit of normalised coordinates; 0 at and beyond the outermost pixel centres.

    Raises:
        ConfigError: the image is smaller than 2 x 2.
    """
    (p00, p01, p10, p11), right, down = _around(image, coordinates)
    height, width = image.shape[-2:]
    along_x = torch.lerp(p01 - p00, p11 - p10, down) * (width / 2)
    along_y = torch.lerp(p10 - p00, p11 - p01, right) * (height / 2)
    inside = (_pixels(coordinates, height, width) > 0) & (
        _pixels(coordinates, height, width) < constant([width - 1, height - 1], coordinates)
    )
    return torch.stack([along_x, along_y], dim=-1) * inside[:, :, None]


def sample_at(image: Float[Tensor, "B C H W"], coordinates: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """C_xy, the colour at a coordinate (adaptive-gradient paper, equation 18), from the four pixels around it.

    Equal to ``grid_sample``, with any number of derivatives.

    Raises:
        ConfigError: the image is smaller than 2 x 2.
    """
    (p00, p01, p10, p11), right, down = _around(image, coordinates)
    return torch.lerp(torch.lerp(p00, p01, right), torch.lerp(p10, p11, right), down)


def color_error_gradient(
    color: Float[Tensor, "B N C"], target: Float[Tensor, "B N C"], color_slope: Float[Tensor, "B N C 2"]
) -> Float[Tensor, "B N 2"]:
    """2 (C_xy - C'_xy) dC_xy/dx, and dy, summed over channels (adaptive-gradient paper, equations 20 and 21)."""
    return 2 * torch.einsum("bnc,bncd->bnd", color - target, color_slope)


def coordinate_gradient(
    sampling_image: Float[Tensor, "B C H W"], target: Float[Tensor, "B N C"], coordinates: Float[Tensor, "B N 2"]
) -> Float[Tensor, "B N 2"]:
    """The colour error's derivative by the coordinate (adaptive-gradient paper, equations 24, 25 and 27 to 30).

    Args:
        sampling_image: U, the image (equations 24 and 25), or U' = U * I_var (27 to 30). C_xy is then also the colour
            of the varied image, which is sampled (equation 11).
        target: C'_xy.
        coordinates: normalised (u, v).

    Returns:
        Squared colour per unit of normalised coordinates; equations 24, 27, 28 along u, and 25, 29, 30 along v.

    Raises:
        ConfigError: the image is smaller than 2 x 2.
    """
    color = sample_at(sampling_image, coordinates)
    return color_error_gradient(color, target, sampling_gradient(sampling_image, coordinates))


def _pixels(coordinates: Tensor, height: int, width: int) -> Tensor:
    """Convert normalised coordinates to pixels: (x, y), pixel centres at whole numbers."""
    size = constant([width, height], coordinates)
    return ((coordinates + 1) * size - 1) / 2


def _around(image: Tensor, coordinates: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """The four pixels around each coordinate [B, N, C], and its offset right and down between them [B, N, 1]."""
    batch, channels, height, width = image.shape
    if min(height, width) < 2:
        raise ConfigError(f"the sampling image has {height} x {width} pixels", "use at least 2 x 2")
    limit = constant([width - 1, height - 1], coordinates)
    place = torch.minimum(_pixels(coordinates, height, width).clamp(min=0), limit)
    corner = torch.minimum(place.detach().floor(), limit - 1)
    right, down = (place - corner).unbind(-1)
    x0, y0 = corner.long().unbind(-1)
    flat = image.reshape(batch, channels, -1)

    def pixel(step_down: int, step_right: int) -> Tensor:
        index = ((y0 + step_down) * width + x0 + step_right)[:, None].expand(-1, channels, -1)
        return flat.gather(2, index).mT

    return (pixel(0, 0), pixel(0, 1), pixel(1, 0), pixel(1, 1)), right[..., None], down[..., None]
