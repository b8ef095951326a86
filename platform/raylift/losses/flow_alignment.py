"""The texture flow against where the rasteriser sees each face (adaptive-gradient paper, equation 12)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.losses.texture_flow import texture_on_faces

LEAST_WEIGHT = 1e-6
"""Sum of a face's weights over all pixels below which it is not seen."""


class FaceCentroids(NamedTuple):
    """Where in the image each face is seen.

    Attributes:
        position: weighted mean of pixel centres, normalised image coordinates; zero for a face that is not seen.
        weight: sum of the face's weights over all pixels.
        is_seen: whether that sum is above ``LEAST_WEIGHT``.
    """

    position: Float[Tensor, "B F 2"]
    weight: Float[Tensor, "B F"]
    is_seen: Bool[Tensor, "B F"]


def face_centroids(weight: Float[Tensor, "B F"], moment: Float[Tensor, "B F 2"]) -> FaceCentroids:
    """The second term of equation 12: sum over pixels of w_ij c_ij, over the sum of w_ij (adaptive-gradient paper).

    The paper divides by n_c, the number of points on the face, on both sides; with weights that do not sum to n_c the
    result is not a point in the image. Dividing by the weights' sum makes it one.

    Args:
        weight: sum over pixels of the face's weights in the soft rasteriser's aggregation, at least 0.
        moment: the same sum of weights times pixel centres (u, v); see ``rendering.soft_view.SoftView.face_sums``.
    """
    is_seen = weight > LEAST_WEIGHT
    divisor = torch.where(is_seen, weight, torch.ones_like(weight))[..., None]
    return FaceCentroids(moment / divisor * is_seen[..., None], weight, is_seen)


def side_seen_more(seen: FaceCentroids, mirror_face: Int[Tensor, "F"]) -> FaceCentroids:
    """Keep only the more visible of two mirrored faces, which read the same texels.

    The two sides of a symmetric texture have their pseudo-labels at two points of the image. No flow fits both, and a
    frontal view would pull it to the middle. If both sides are equally visible, the lower index counts.

    Args:
        mirror_face: mirror image of each face; a face that crosses the plane is its own.

    Returns:
        The input with weight 0 for the side that does not count.
    """
    other = seen.weight[:, mirror_face]
    is_first = torch.arange(len(mirror_face), device=mirror_face.device) <= mirror_face
    counts = (seen.weight > other) | ((seen.weight == other) & is_first)
    is_seen = seen.is_seen & counts
    return FaceCentroids(seen.position * is_seen[..., None], seen.weight * is_seen, is_seen)


def face_flow(flow: Float[Tensor, "B 2 Ht Wt"], uvs: Float[Tensor, "F S 2"]) -> Float[Tensor, "B F 2"]:
    """The first term of equation 12: the mean over a face's points x of I_flow at phi^-1(x) (adaptive-gradient paper).

    The paper writes I_flow^-1. Read as a map from the image to the texture, as the text of equation 8 says, its inverse
    maps a texel to the point in the image that it is read from, which is D_flow's output.

    Args:
        uvs: phi^-1 of S points per face.
    """
    return texture_on_faces(flow, uvs).mean(dim=2)


def flow_alignment_error(
    flow: Float[Tensor, "B 2 Ht Wt"], uvs: Float[Tensor, "F S 2"], seen: FaceCentroids
) -> Float[Tensor, "B F"]:
    """L_align: distance of each face's flow from where the face is seen (adaptive-gradient paper, equation 12).

    Faces cover different areas of the image: average with weights ``seen.weight``.

    Args:
        seen: visibility of faces, treated as constant.

    Returns:
        Euclidean distance in normalised image coordinates; 0 for faces that are not seen.
    """
    distance = torch.linalg.vector_norm(face_flow(flow, uvs) - seen.position.detach(), dim=-1)
    return torch.where(seen.is_seen, distance, torch.zeros_like(distance))


def flow_cycle_error(
    flow: Float[Tensor, "B 2 Ht Wt"], uvs: Float[Tensor, "F S 2"], seen: FaceCentroids
) -> Float[Tensor, "B F"]:
    """UMR's texture cycle consistency: equation 12 squared, a mean over the two coordinates.

    UMR takes the mean over all faces, seen or not, and trains only the flow with it; its weights assume this.

    Args:
        seen: visibility of faces, treated as constant.

    Returns:
        Squared normalised image coordinates; 0 for faces that are not seen.
    """
    squared = (face_flow(flow, uvs) - seen.position.detach()).square().mean(dim=-1)
    return torch.where(seen.is_seen, squared, torch.zeros_like(squared))
