"""The texture flow against where the rasteriser sees each face (adaptive-gradient paper, equation 12)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.geometry.cameras import pixel_centers
from raylift.losses.texture_flow import texture_on_faces

LEAST_WEIGHT = 1e-6
"""A face whose weights over all pixels sum to less is not seen."""


class FaceCentroids(NamedTuple):
    """Where in the image each face is seen.

    Attributes:
        position: the weighted mean of pixel centres, normalised image coordinates; zero for a face that is not seen.
        weight: the sum of its weights over all pixels.
        is_seen: whether that sum is above ``LEAST_WEIGHT``.
    """

    position: Float[Tensor, "B F 2"]
    weight: Float[Tensor, "B F"]
    is_seen: Bool[Tensor, "B F"]


def face_centroids(
    weights: Float[Tensor, "B H W K"], pix_to_face: Int[Tensor, "B H W K"], num_faces: int
) -> FaceCentroids:
    """The second term of equation 12: sum over pixels of w_ij c_ij, over the sum of w_ij (adaptive-gradient paper).

    The paper divides by n_c, the number of points on the face, on both sides; with weights that do not sum to n_c that
    is not a place in the image. The weights' own sum makes it one.

    Args:
        weights: of the K faces at each pixel, from the soft rasteriser's aggregation, at least 0.
        pix_to_face: which faces, into that image's mesh; -1 for none.
    """
    batch, height, width, depth = weights.shape
    where = pixel_centers(height, width, weights.device, weights.dtype)[:, :, None].expand(-1, -1, depth, -1)
    face = pix_to_face.reshape(batch, -1)
    weight = torch.where(face >= 0, weights.reshape(batch, -1), torch.zeros_like(weights).reshape(batch, -1))
    columns = torch.cat([where.reshape(1, -1, 2) * weight[..., None], weight[..., None]], dim=-1)
    index = face.clamp(min=0)[..., None].expand(-1, -1, 3)
    sums = weights.new_zeros(batch, num_faces, 3).scatter_add(1, index, columns)
    total = sums[..., 2]
    is_seen = total > LEAST_WEIGHT
    divisor = torch.where(is_seen, total, torch.ones_like(total))[..., None]
    return FaceCentroids(sums[..., :2] / divisor * is_seen[..., None], total, is_seen)


def face_flow(flow: Float[Tensor, "B 2 Ht Wt"], uvs: Float[Tensor, "F S 2"]) -> Float[Tensor, "B F 2"]:
    """The first term of equation 12: the mean over a face's points x of I_flow at phi^-1(x) (adaptive-gradient paper).

    The paper writes I_flow^-1. Read as a map from the image to the texture, as equation 8's words have it, its inverse
    takes a texel to the place in the image it is read from, which is what D_flow's output holds.

    Args:
        uvs: phi^-1 of S points of every face.
    """
    return texture_on_faces(flow, uvs).mean(dim=2)


def flow_alignment_error(
    flow: Float[Tensor, "B 2 Ht Wt"], uvs: Float[Tensor, "F S 2"], seen: FaceCentroids
) -> Float[Tensor, "B F"]:
    """L_align: how far each face's flow is from where the face is seen (adaptive-gradient paper, equation 12).

    Detach ``seen.position`` to train the flow only; with its gradient it is UMR's texture cycle consistency, which
    trains shape and camera too.

    Returns:
        Euclidean distance in normalised image coordinates; 0 for faces that are not seen: divide by their count.
    """
    distance = torch.linalg.vector_norm(face_flow(flow, uvs) - seen.position, dim=-1)
    return torch.where(seen.is_seen, distance, torch.zeros_like(distance))
