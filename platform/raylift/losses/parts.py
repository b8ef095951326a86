"""Parts of the mesh against parts of the image (adaptive-gradient paper, equations 13-14)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def chamfer_distance(
    first: Float[Tensor, "B N D"],
    second: Float[Tensor, "B M D"],
    first_exists: Bool[Tensor, "B N"],
    second_exists: Bool[Tensor, "B M"],
) -> Float[Tensor, "B"]:
    """The mean squared distance to the nearest point of the other set, summed over both directions.

    Args:
        first_exists, second_exists: which points are real rather than padding.

    Returns:
        Squared units; 0 where one of the sets is empty.
    """
    squared = (first[:, :, None] - second[:, None]).square().sum(dim=-1)
    there = first_exists[:, :, None] & second_exists[:, None]
    squared = squared.masked_fill(~there, torch.inf)
    total = squared.new_zeros(first.shape[0])
    for dim, exists in ((2, first_exists), (1, second_exists)):
        nearest = squared.min(dim=dim).values
        counts = exists & nearest.isfinite()
        nearest = torch.where(counts, nearest, torch.zeros_like(nearest))
        total = total + nearest.sum(dim=1) / counts.sum(dim=1).clamp(min=1)
    return total


def part_chamfer(
    projected: Float[Tensor, "B V 2"],
    vertex_parts: Bool[Tensor, "P V"],
    points: Float[Tensor, "B P N 2"],
    exists: Bool[Tensor, "B P N"],
) -> Float[Tensor, "B P"]:
    """L_part = chamfer(psi(V_i), P_uv^i) of every part i (adaptive-gradient paper, equation 13).

    Args:
        projected: psi(V): all vertices by the predicted camera, normalised image coordinates.
        vertex_parts: mask of each part's vertices.
        points: P_uv: points of each part in the image, same coordinates.
        exists: which of them are real rather than padding; their number varies by part (UMR: 10, 10, 30, 30).

    Returns:
        Squared normalised coordinates; 0 for a part without vertices or without points.
    """
    columns = []
    for part, of_part in enumerate(vertex_parts):
        own = projected[:, of_part]
        everyone = torch.ones(own.shape[:2], dtype=torch.bool, device=own.device)
        # No neighbours: min over an empty axis has no value.
        empty = own.shape[1] == 0 or points.shape[2] == 0
        column = chamfer_distance(own, points[:, part], everyone, exists[:, part]) if not empty else None
        columns.append(projected.sum(dim=(1, 2)) * 0 if column is None else column)
    return torch.stack(columns, dim=1)


def by_their_largest(parts: Float[Tensor, "B P H W"]) -> Float[Tensor, "B P H W"]:
    """Normalise each part's map by its maximum in the image (UMR), so that uncertain parts count too."""
    return parts / parts.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)


def part_probability_error(
    rendered: Float[Tensor, "B P H W"], probability: Float[Tensor, "B P H W"]
) -> Float[Tensor, "B P H W"]:
    """||P_r - F_r(V_seg, cam)|| per part and pixel (adaptive-gradient paper, equation 14).

    The paper does not name the norm: this is the square.

    Args:
        rendered: the vertices' parts V_seg as colours, rendered by the predicted camera; in [0, 1].
        probability: P_r of the image's own segmentation, in [0, 1].
    """
    return (probability - rendered).square()
