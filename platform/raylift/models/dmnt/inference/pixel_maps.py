"""Outlines of a fit: amodal, visible and occluder probabilities at the image's resolution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from raylift.models.dmnt.inference.candidates import Candidates
from raylift.models.dmnt.inference.objective import Scene, explain
from raylift.rendering.uv_fragments import uv_fragments

SAMPLES = 2
"""Samples per pixel and axis of the amodal outline."""


class PixelMaps(NamedTuple):
    """Probabilities in [0, 1]; visible + occluder = amodal.

    Attributes:
        amodal: that a pixel belongs to the object, hidden or not.
        visible: that it shows the object.
        occluder: that it shows what hides the object.
    """

    amodal: Float[Tensor, "B 1 H W"]
    visible: Float[Tensor, "B 1 H W"]
    occluder: Float[Tensor, "B 1 H W"]


@torch.no_grad()
def pixel_maps(scene: Scene, fits: Candidates, image_px: int, temperature: float) -> PixelMaps:
    """Maps of one fit per image.

    The amodal map is the silhouette of the fitted mesh, softened. Inside it a pixel shows the object with probability
    sigmoid((o - c) / temperature), with o and c the similarities of object and clutter at the features' resolution.

    Args:
        temperature: in cosine similarity.
    """
    found = explain(scene, fits)
    amodal = silhouettes(scene, fits, image_px)
    margin = _spread(found.margin, found.outline)
    share = torch.sigmoid(interpolate(margin[:, None], image_px, mode="bilinear", align_corners=False) / temperature)
    return PixelMaps(amodal, amodal * share, amodal * (1 - share))


def silhouettes(scene: Scene, fits: Candidates, image_px: int) -> Float[Tensor, "B 1 H W"]:
    """Coverage of pixels by the fitted meshes, softened over one pixel around each.

    Not the soft rasteriser's: where faces are smaller than a pixel, their soft edges add up to an outline that is too
    large.
    """
    templates = scene.templates
    vertices, side = scene.vertices(fits), image_px * SAMPLES
    found = uv_fragments(vertices, templates.faces, templates.corner_uvs, fits.camera, side)
    coverage = avg_pool2d(found.mask[:, None].to(vertices), SAMPLES)
    return avg_pool2d(coverage, 3, 1, 1, count_include_pad=False)


def _spread(margin: Float[Tensor, "B S S"], outline: Bool[Tensor, "B S S"]) -> Float[Tensor, "B S S"]:
    """Values of the outline's pixels, and just outside of it the mean of those next to it."""
    inside = outline.to(margin)
    padded = [avg_pool2d(part[:, None], 3, 1, 1)[:, 0] for part in (margin * inside, inside)]
    return torch.where(outline, margin, padded[0] / padded[1].clamp(min=1e-6))
