"""Framing: an object's box determines scale and shift, so that only its rotation has to be searched.

A silhouette whose box is centred, with its longest side a fixed fraction of the image's, is the same for every camera
of that rotation. The camera's scale and shift follow from the two boxes in closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

FILL = 1 / 1.1
"""Longest side of a framed object relative to the image's, as in crops with a padding of 5 % on each side."""
LEAST_SIDE = 1e-6


class Box(NamedTuple):
    """Bounding boxes in normalised image coordinates.

    Attributes:
        center: centre of the box.
        half: half of its longest side.
    """

    center: Float[Tensor, "*B 2"]
    half: Float[Tensor, "*B"]


def box_of_points(uv: Float[Tensor, "*B V 2"]) -> Box:
    """The box of projected points; differentiable."""
    low, high = uv.amin(dim=-2), uv.amax(dim=-2)
    return Box((low + high) / 2, (high - low).amax(dim=-1).clamp(min=LEAST_SIDE) / 2)


def box_of_mask(mask: Float[Tensor, "B H W"]) -> Box:
    """The box of ``edges_of_mask``."""
    low, high = edges_of_mask(mask)
    return Box((low + high) / 2, (high - low).amax(dim=-1) / 2)


def edges_of_mask(mask: Float[Tensor, "B H W"]) -> tuple[Float[Tensor, "B 2"], Float[Tensor, "B 2"]]:
    """The outer edges of the pixels that are at least half as covered as the most covered one.

    An empty mask has the edges of the whole image.

    Returns:
        (left, top) and (right, bottom), normalised image coordinates.
    """
    covered = mask >= 0.5 * mask.flatten(1).amax(dim=1).clamp(min=LEAST_SIDE)[:, None, None]
    edges = [_extent(covered.any(dim=dim)) for dim in (1, 2)]
    low, high = (torch.stack([edge[side] for edge in edges], dim=-1).to(mask.dtype) for side in (0, 1))
    return low, high


def _extent(covered: Tensor) -> tuple[Tensor, Tensor]:
    """The outer edges, in [-1, 1], of the first and the last covered position of each row."""
    size = covered.shape[1]
    place = torch.arange(size, device=covered.device)
    first = torch.where(covered, place, size).amin(dim=1)
    last = torch.where(covered, place, -1).amax(dim=1)
    empty = last < 0
    low = torch.where(empty, -1.0, 2.0 * first / size - 1)
    high = torch.where(empty, 1.0, 2.0 * (last + 1) / size - 1)
    return low, high


def framed_points(uv: Float[Tensor, "*B V 2"]) -> Float[Tensor, "*B V 2"]:
    """Centre the box of projected points, with its longest side ``FILL`` of the image's."""
    box = box_of_points(uv)
    return (uv - box.center[..., None, :]) * (FILL / box.half)[..., None, None]


def framed_pictures(pictures: Float[Tensor, "B C H W"], box: Box, image_px: int) -> Float[Tensor, "B C S S"]:
    """Move and scale images so that a box is framed in the same way; points outside of them are 0.

    Each pixel is the mean of 2 x 2 bilinear readings of an image averaged down to about that spacing.
    """
    fine = 2 * image_px
    if pictures.shape[-1] > fine:
        pictures = functional.interpolate(pictures, (fine, fine), mode="area")
    axis = (2 * torch.arange(fine, device=pictures.device, dtype=pictures.dtype) + 1) / fine - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    wanted = torch.stack([columns, rows], dim=-1)[None] / FILL
    places = box.center[:, None, None].to(pictures) + wanted * box.half[:, None, None, None].to(pictures)
    read = functional.grid_sample(pictures, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    return functional.avg_pool2d(read, 2)


def fitted_scale_and_shift(seen: Box, rendered: Box) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B 2"]]:
    """Scale and shift of the weak-perspective camera that aligns a projected shape's box with an image's.

    Args:
        seen: box of the object in the image.
        rendered: box of the shape at scale 1 without shift, with the same rotation.
    """
    scale = seen.half / rendered.half
    return scale, seen.center - scale[..., None] * rendered.center
