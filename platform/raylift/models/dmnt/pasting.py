"""Occluders pasted over training images, so that features see objects that are partly hidden.

A patch is filled by its own image, moved and in other colours, or by a drawn texture. Pixels of another image of the
batch would depend on which samples a rank holds (law 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.core.generators import keyed_uniform_rows
from raylift.core.step_info import StepInfo
from raylift.geometry.framing import edges_of_mask
from raylift.rendering.backgrounds import draw_backgrounds

EDGE_PX = 2.0
"""Width of a patch's soft edge: a sharp one would give patches away."""
POWERS = (1.5, 6.0)
"""Range of the superellipse's exponent: from nearly a diamond to nearly a box."""
MOST_ASPECT = 2.5
MOST_WAVE = 0.25
"""Largest change of the radius by waves around the outline, relative."""
WAVES = (2, 5)
"""Fewest and most of these waves."""
ROLLS = (0.25, 0.75)
"""Range of an image's shift before it fills a patch, as a fraction of its side."""
_COLOR_ORDERS = list(permutations(range(3)))[1:]


@dataclass(frozen=True)
class PastingConfig:
    """How often training images get an occluder, and how much it hides; never by default, as in NeMo.

    Attributes:
        probability: of a sample to get one.
        hidden: smallest and largest share that it hides of what is seen of the object, by area of the mask.
    """

    probability: float = 0.0
    hidden: tuple[float, float] = (0.1, 0.6)

    def __post_init__(self) -> None:
        low, high = self.hidden
        if not (0 <= self.probability <= 1 and 0 < low <= high < 1):
            raise ConfigError(
                f"augmentation.paste.probability is {self.probability}, hidden {self.hidden}",
                "use 0 <= probability <= 1 and 0 < hidden < 1, the smaller share first",
            )


@dataclass(frozen=True)
class _Draws:
    """Uniform draws of B samples in [0, 1), keyed by (seed, step, sample)."""

    gate: Float[Tensor, "B"]
    hidden: Float[Tensor, "B"]
    right: Float[Tensor, "B"]
    down: Float[Tensor, "B"]
    turn: Float[Tensor, "B"]
    power: Float[Tensor, "B"]
    aspect: Float[Tensor, "B"]
    wave: Float[Tensor, "B"]
    waves: Float[Tensor, "B"]
    phase: Float[Tensor, "B"]
    own: Float[Tensor, "B"]
    roll_right: Float[Tensor, "B"]
    roll_down: Float[Tensor, "B"]
    order: Float[Tensor, "B"]

    @staticmethod
    def of(keys: Int[Tensor, "B"], step_info: StepInfo) -> _Draws:
        count = len(_Draws.__dataclass_fields__)
        return _Draws(*keyed_uniform_rows(keys, step_info.seed, step_info.step, count, "paste").unbind(1))


def pasted(
    image: Float[Tensor, "B 3 P P"],
    mask: Float[Tensor, "B 1 P P"],
    keys: Int[Tensor, "B"],
    config: PastingConfig,
    step_info: StepInfo,
) -> tuple[Float[Tensor, "B 3 P P"], Float[Tensor, "B 1 P P"]]:
    """Images with occluders over some of them, and what is still seen of their objects.

    Args:
        image: RGB in [0, 1].
        mask: what is seen of the object, coverage in [0, 1]; an empty one gets no occluder.
    """
    if config.probability == 0:
        return image, mask
    draws = _Draws.of(keys, step_info)
    chosen = (draws.gate < config.probability) & (mask.flatten(1).amax(dim=1) > 0)
    coverage = _coverage(mask, draws, config) * chosen[:, None, None, None]
    filling = _filling(image, mask, keys, draws, step_info)
    return torch.lerp(image, filling, coverage.to(image)), mask * (1 - coverage)


def _coverage(mask: Float[Tensor, "B 1 P P"], draws: _Draws, config: PastingConfig) -> Float[Tensor, "B 1 P P"]:
    """A patch around a point of the object's box, as large as it must be to hide the drawn share of the mask."""
    side = mask.shape[-1]
    low, high = edges_of_mask(mask[:, 0])
    center = low + torch.stack([draws.right, draws.down], dim=1) * (high - low)
    axis = (2 * torch.arange(side, device=mask.device, dtype=mask.dtype) + 1) / side - 1
    x, y = axis[None, None] - center[:, 0, None, None], axis[None, :, None] - center[:, 1, None, None]
    reach, radius = torch.hypot(x, y), _radius(torch.atan2(y, x), draws)
    # The patch of size t is where reach < t radius: the smallest t that hides enough is a weighted quantile.
    sizes = (reach / radius).flatten(1)
    order = sizes.argsort(dim=1)
    area = mask.flatten(1).gather(1, order).double().cumsum(dim=1)
    share = _between(draws.hidden, config.hidden).double()
    place = (area < share[:, None] * area[:, -1:]).sum(dim=1, keepdim=True).clamp(max=side * side - 1)
    size = sizes.gather(1, order.gather(1, place))[..., None]
    inside_px = (size * radius - reach) * (side / 2)
    return (0.5 + inside_px / EDGE_PX).clamp(0, 1)[:, None]


def _radius(angle: Float[Tensor, "B P P"], draws: _Draws) -> Float[Tensor, "B P P"]:
    """The outline in polar coordinates: a turned superellipse |x|^p + |a y|^p = 1 with waves along it."""

    def each(values: Tensor) -> Tensor:
        return values[:, None, None]

    turned = angle - each(2 * math.pi * draws.turn)
    power = each(_between(draws.power, POWERS))
    aspect = MOST_ASPECT ** each(2 * draws.aspect - 1)
    ellipse = (turned.cos().abs() ** power + (aspect * turned.sin()).abs() ** power) ** (-1 / power)
    number = each(_between(draws.waves, (WAVES[0], WAVES[1] + 1)).floor())
    return ellipse * (1 + MOST_WAVE * each(draws.wave) * (number * turned + each(2 * math.pi * draws.phase)).cos())


def _filling(
    image: Float[Tensor, "B 3 P P"],
    mask: Float[Tensor, "B 1 P P"],
    keys: Int[Tensor, "B"],
    draws: _Draws,
    step_info: StepInfo,
) -> Float[Tensor, "B 3 P P"]:
    """What patches show: half of them the image itself, elsewhere and in other colours, the others a texture.

    Where the moved image shows its object, the texture replaces it: what covers an object is background.
    """
    side = image.shape[-1]
    texture = draw_backgrounds(keys, step_info.seed, step_info.step, side, purpose="paste texture").to(image)
    shifts = [(_between(part, ROLLS) * side).long().tolist() for part in (draws.roll_down, draws.roll_right)]
    both = torch.cat([image, mask.to(image)], dim=1)
    moved = torch.stack([row.roll(shift, (1, 2)) for row, *shift in zip(both, *shifts, strict=True)])
    orders = torch.tensor(_COLOR_ORDERS, device=image.device)[(draws.order * len(_COLOR_ORDERS)).long()]
    colors = moved[:, :3].gather(1, orders[..., None, None].expand_as(image))
    background = torch.lerp(colors, texture, moved[:, 3:])
    return torch.where((draws.own < 0.5)[:, None, None, None], background, texture)


def _between(uniform: Tensor, limits: tuple[float, float]) -> Tensor:
    return limits[0] + uniform * (limits[1] - limits[0])
