"""Random changes of a discriminator's images that a generator does not learn to imitate (Karras et al. 2020, ADA).

Each change is applied to a sample with probability p, and to real and rendered images alike. As long as p stays below
about 0.8, the distribution of the unchanged images can be inferred from that of the changed ones, so the generator
still learns the former. All changes are linear in the image, so R1 can be differentiated through them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.core.generators import keyed_uniform_rows
from raylift.core.precision import at_least_float32
from raylift.rendering.image_changes import stretched

_CHANGES = ("mirror", "shift", "scale", "rotation_deg", "brightness", "contrast", "saturation", "cutout")
"""Fields of ``AugmentationConfig`` that each say how strong one change is."""
NUM_DRAWS = len(_CHANGES) + 10
"""Whether each change is applied, then the amounts: mirror 1, shift 2, scale 1, rotation 1, colours 3, cutout 2."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How strong the changes are; 0 leaves one out.

    Attributes:
        mirror: whether half of the samples are mirrored left to right.
        shift: largest shift along each axis, as a fraction of the image's side; whole pixels.
        scale: standard deviation of the logarithm to base 2 of the size.
        rotation_deg: largest rotation in the image plane, either way.
        brightness: standard deviation of what is added to RGB in [0, 1].
        contrast: standard deviation of the logarithm to base 2 of the contrast, around RGB 0.5.
        saturation: standard deviation of the logarithm to base 2 of the saturation.
        cutout: side of the square that is erased, as a fraction of the image's side.
        fill: value beyond the image and in the erased square: 0 for premultiplied RGBA, 1 for RGB on white.
    """

    mirror: bool = True
    shift: float = 0.125
    scale: float = 0.2
    rotation_deg: float = 10.0
    brightness: float = 0.2
    contrast: float = 0.5
    saturation: float = 1.0
    cutout: float = 0.5
    fill: float = 0.0

    def __post_init__(self) -> None:
        sizes = (self.shift, self.scale, self.rotation_deg, self.brightness, self.contrast, self.saturation)
        if min(sizes) < 0 or not 0 <= self.cutout < 1 or self.shift >= 1:
            raise ConfigError(f"impossible augmentation {self}", "use sizes of at least 0, and fractions below 1")


def augmentation_draws(keys: Int[Tensor, "B"], seed: int, step: int, purpose: str) -> Float[Tensor, "B N"]:
    """Uniform draws of every change for (seed, step, sample, purpose): the same whichever rank holds the sample.

    Args:
        keys: keys of the samples (``Batch.keys``).
        purpose: tells apart the images of one step, such as "real" and "novel view".
    """
    return keyed_uniform_rows(keys, seed, step, NUM_DRAWS, purpose, "augmentation")


def augmented(
    image: Float[Tensor, "B C H W"], draws: Float[Tensor, "B N"], probability: float, config: AugmentationConfig
) -> Float[Tensor, "B C H W"]:
    """Change images at random; differentiable, and the identity for samples that draw no change.

    Args:
        image: RGB, or premultiplied RGB and alpha, in [0, 1]. Alpha is moved and erased with the colours, and colours
            change in proportion to it.
        draws: of ``augmentation_draws``.
        probability: of each change, in [0, 1]; 0 returns ``image``.

    Returns:
        Images that are not clipped to [0, 1].
    """
    if probability == 0:
        return image
    # Half precision would round the places that pixels are read from.
    image = at_least_float32(image)
    draws = draws.to(image.dtype)
    gates = draws[:, : len(_CHANGES)].unbind(1)
    applied = {
        name: (gate < probability) & (getattr(config, name) > 0) for name, gate in zip(_CHANGES, gates, strict=True)
    }
    amounts = draws[:, len(_CHANGES) :]
    image = _moved(image, applied, amounts[:, :5], config)
    image = _recolored(image, applied, amounts[:, 5:8], config)
    return _erased(image, applied["cutout"], amounts[:, 8:10], config)


def _moved(image: Tensor, applied: dict[str, Tensor], draws: Tensor, config: AugmentationConfig) -> Tensor:
    """Mirror, scale, rotate and shift, in this order, by one bilinear resampling."""
    height, width = image.shape[-2:]
    coin, shift_x, shift_y, size, turn = draws.unbind(1)
    one, zero = torch.ones_like(coin), torch.zeros_like(coin)
    mirror = torch.where(applied["mirror"] & (coin < 0.5), -one, one)
    scale = torch.where(applied["scale"], 2 ** (config.scale * _normal(size)), one)
    angle = torch.where(applied["rotation_deg"], config.rotation_deg * pi / 180 * (2 * turn - 1), zero)
    shifts = [
        torch.where(applied["shift"], (config.shift * side * (2 * share - 1)).round(), zero)
        for share, side in ((shift_x, width), (shift_y, height))
    ]
    moved = (mirror < 0) | (scale != 1) | (angle != 0) | (shifts[0] != 0) | (shifts[1] != 0)
    if not bool(moved.any()):
        return image
    # Where each pixel comes from, relative to the centre: the changes' inverses in reverse order.
    x = torch.arange(width, dtype=image.dtype, device=image.device) - (width - 1) / 2 - shifts[0][:, None]
    y = torch.arange(height, dtype=image.dtype, device=image.device) - (height - 1) / 2 - shifts[1][:, None]
    x, y = x[:, None, :], y[:, :, None]
    cosine, sine = (angle.cos() / scale)[:, None, None], (angle.sin() / scale)[:, None, None]
    source_x = mirror[:, None, None] * (cosine * x + sine * y) + (width - 1) / 2
    source_y = cosine * y - sine * x + (height - 1) / 2
    return torch.where(_per_image(moved), _resampled(image, source_x, source_y, config.fill), image)


def _resampled(image: Tensor, x: Tensor, y: Tensor, fill: float) -> Tensor:
    """Read images at pixel positions [B, H, W] bilinearly.

    By ``gather``, because ``grid_sample`` cannot be differentiated twice.
    """
    height, width = image.shape[-2:]
    flat = image.flatten(2)
    left, top = x.floor(), y.floor()
    result, total = torch.zeros_like(flat), torch.zeros_like(flat[:, :1])
    for down in (0, 1):
        for right in (0, 1):
            column, row = (left + right).long(), (top + down).long()
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - (x - left - right).abs()) * (1 - (y - top - down).abs()) * inside
            place = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)[:, None]
            weight = weight.flatten(1)[:, None]
            result = result + weight * flat.gather(2, place.expand_as(flat))
            total = total + weight
    return (result + (1 - total) * fill).unflatten(2, (height, width))


def _recolored(image: Tensor, applied: dict[str, Tensor], draws: Tensor, config: AugmentationConfig) -> Tensor:
    """Brightness, contrast and saturation, in this order."""
    rgb, alpha = image[:, :3], image[:, 3:]
    # Premultiplied colours change by what the same change of the colours themselves would be, times alpha.
    opacity = alpha if image.shape[1] == 4 else torch.ones_like(rgb[:, :1])
    brightness, contrast, saturation = _normal(draws).unbind(1)
    brighter = rgb + _per_image(config.brightness * brightness) * opacity
    rgb = torch.where(_per_image(applied["brightness"]), brighter, rgb)
    contrasted = stretched(rgb, 0.5 * opacity, _per_image(2 ** (config.contrast * contrast)))
    rgb = torch.where(_per_image(applied["contrast"]), contrasted, rgb)
    saturated = stretched(rgb, rgb.mean(dim=1, keepdim=True), _per_image(2 ** (config.saturation * saturation)))
    rgb = torch.where(_per_image(applied["saturation"]), saturated, rgb)
    return torch.cat([rgb, alpha], dim=1)


def _erased(image: Tensor, applied: Bool[Tensor, "B"], draws: Tensor, config: AugmentationConfig) -> Tensor:
    """Fill a square around a random pixel."""
    erased = _per_image(applied)
    for axis, share in zip((-1, -2), draws.unbind(1), strict=True):
        side = image.shape[axis]
        place = (torch.arange(side, dtype=image.dtype, device=image.device) + 0.5) / side
        near = (place - share[:, None]).abs() < config.cutout / 2
        erased = erased & (near[:, None, None, :] if axis == -1 else near[:, None, :, None])
    return image.masked_fill(erased, config.fill)


def _normal(uniform: Tensor) -> Tensor:
    """Standard normals from uniforms in [0, 1)."""
    return torch.erfinv((2 * uniform - 1).clamp(-0.9999, 0.9999)) * 2**0.5


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
