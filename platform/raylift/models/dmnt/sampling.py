"""Which features a step compares: places on surfaces, and background, drawn for each sample by its own key."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core import collectives
from raylift.core.device_copies import numbers_of, upload
from raylift.core.generators import torch_generator
from raylift.core.step_info import StepInfo
from raylift.losses.surface_contrast import Candidates
from raylift.models.dmnt.weights import ContrastConfig
from raylift.networks.neural_texture import NeuralTexture
from raylift.rendering.uv_fragments import UvFragments


@dataclass(frozen=True)
class TrueView:
    """What B images show, by their true cameras.

    Attributes:
        category: index of each image's category; 0 for an image of none, which shows background only.
        fragments: surface coordinates of the cells that show the object.
        background: cells that show something else: what is behind the object, or in front of it.
    """

    category: Int[Tensor, "B"]
    fragments: UvFragments
    background: Bool[Tensor, "B S S"]


@dataclass(frozen=True)
class SurfaceSamples:
    """Features that images show of surfaces.

    Attributes:
        features: unit vectors.
        texels: index j N + i of the texel that each is of.
        directions: where each is on the template's sphere.
        positive: the neural texture there.
        valid: samples that count: an image may show fewer places than are drawn.
    """

    features: Float[Tensor, "B S D"]
    texels: Int[Tensor, "B S"]
    directions: Float[Tensor, "B S 3"]
    positive: Float[Tensor, "B S D"]
    valid: Bool[Tensor, "B S"]


@dataclass(frozen=True)
class BackgroundSamples:
    """Features of cells that do not show the object; ``valid`` as for surfaces."""

    features: Float[Tensor, "B P D"]
    valid: Bool[Tensor, "B P"]


def drawn_places(
    there: Bool[Tensor, "B T"], count: int, keys: Int[Tensor, "B"], step_info: StepInfo, purpose: str
) -> tuple[Int[Tensor, "B S"], Bool[Tensor, "B S"]]:
    """At most ``count`` places of each sample, without repetition, keyed by (seed, step, sample).

    Returns:
        indices, and which of them are places that are there.
    """
    total = there.shape[1]
    order = torch.stack(
        [
            torch.rand(total, generator=torch_generator(step_info.seed, step_info.step, key, purpose))
            for key in numbers_of(keys)
        ]
    )
    values, places = upload(order, there.device).masked_fill(~there, -1.0).topk(min(count, total), dim=1)
    return places, values >= 0


def background_samples(
    features: Float[Tensor, "B D S S"],
    background: Bool[Tensor, "B S S"],
    count: int,
    keys: Int[Tensor, "B"],
    step_info: StepInfo,
) -> BackgroundSamples:
    """``count`` background features over the global batch, as many of each image."""
    num_images = collectives.global_number(len(keys), features)
    places, valid = drawn_places(
        background.flatten(1), math.ceil(count / num_images), keys, step_info, "background cells"
    )
    picked = features.flatten(2).mT.gather(1, places[..., None].expand(-1, -1, features.shape[1]))
    return BackgroundSamples(picked, valid)


def candidates(
    surface: SurfaceSamples,
    background: BackgroundSamples,
    texture: NeuralTexture,
    category: Int[Tensor, "B"],
    keys: Int[Tensor, "B"],
    config: ContrastConfig,
    step_info: StepInfo,
) -> Candidates:
    """What surface features are contrasted with (appendix A.3); background features are those of all ranks."""
    known = texture.known.flatten(1)
    places, valid = drawn_places(known[category], config.num_same, keys, step_info, "same surface")
    near = math.cos(math.radians(config.near_deg))
    far = surface.directions @ texture.directions[places].mT < near
    count = texture.num_categories
    numbers = torch.arange(count, device=category.device)
    elsewhere, seen = drawn_places(known, config.num_other, torch.arange(count), step_info, "other surfaces")
    owner = numbers[:, None].expand_as(elsewhere).flatten()
    shown = collectives.gather_rows(background.features).flatten(0, 1)
    shown_valid = collectives.gather_rows(background.valid.long()).flatten() > 0
    clutter = texture.clutter.to(shown.dtype)
    dtype = surface.features.dtype
    return Candidates(
        positive=surface.positive,
        same=texture.texel_features(category[:, None].expand_as(places), places).to(dtype),
        same_counts=far & valid[:, None],
        other=texture.texel_features(owner, elsewhere.flatten()).to(dtype),
        other_counts=seen.flatten() & (owner != category[:, None]),
        background=torch.cat([shown, clutter]),
        background_counts=torch.cat([shown_valid, shown_valid.new_ones(len(clutter))]),
    )


def covered_cells(mask: Float[Tensor, "B 1 H W"], cells: int) -> Float[Tensor, "B S S"]:
    """The part of each cell that a mask covers."""
    return functional.adaptive_avg_pool2d(mask, cells)[:, 0]
