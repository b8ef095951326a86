"""What features know by themselves: at the true pose, where in all textures the visible cells find their match."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.models.dmnt.sampling import TrueView
from raylift.networks.neural_texture import NeuralTexture

NEAR_DEG = math.degrees(0.1 * math.sqrt(4 * math.pi))
"""The angle that 0.1 of the chart's side is on average: the sphere's area is the chart's. 20 degrees."""


@torch.no_grad()
def match_scores(features: Float[Tensor, "B D S S"], view: TrueView, texture: NeuralTexture) -> dict[str, Tensor]:
    """Scores of each image, [B], means over its cells.

    right_category: visible cells whose most similar texel, of all categories, is of the image's. By chance 1 / C.
    right_place: and is within 0.1 of the chart's side of the cell's true place, measured on the sphere. By chance
        0.03 / C.
    place_if_told: the same with the category told. By chance 0.03.
    object_above_clutter: visible cells that resemble a texel more than clutter.
    clutter_above_object: background cells that do not. The mean of both is 0.5 by chance.
    """
    category, visible = view.category, view.fragments
    known = texture.known.flatten()
    count, texels = texture.num_categories, texture.config.texels**2
    banks = texture.texture.flatten(0, 2)
    similar = torch.einsum("bdhw,td->bthw", features, banks.to(features.dtype)).flatten(2)
    similar = similar.masked_fill(~known[:, None], -1.0).unflatten(1, (count, texels))
    best, where = similar.max(dim=2)
    guess = best.argmax(dim=1)
    own = where.gather(1, category[:, None, None].expand(-1, 1, where.shape[2]))[:, 0]
    mask = visible.mask.flatten(1)
    truth = texture.directions[texture.texels_at(visible.uv.flatten(1, 2))]
    near = (texture.directions[own] * truth).sum(dim=-1) > math.cos(math.radians(NEAR_DEG))
    right = guess == category[:, None]
    clutter = texture.scores(features).flatten(1)
    above = best.amax(dim=1) > clutter
    return {
        "right_category": _mean(right, mask),
        "right_place": _mean(right & near, mask),
        "place_if_told": _mean(near, mask),
        "object_above_clutter": _mean(above, mask),
        "clutter_above_object": _mean(~above, view.background.flatten(1)),
    }


def _mean(values: Tensor, counts: Tensor) -> Float[Tensor, "B"]:
    counts = counts.to(torch.float32)
    return (values * counts).sum(dim=1) / counts.sum(dim=1).clamp(min=1)
