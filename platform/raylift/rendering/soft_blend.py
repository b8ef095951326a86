"""SoftRas's softmax over the faces at a pixel: the share of each face, and of the background, in its colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.geometry.cameras import pixel_centers
from raylift.rendering.fragments import Fragments


@dataclass(frozen=True)
class SoftBlend:
    """Softness of the image.

    Attributes:
        sigma: softness of edges, in squared normalised coordinates: a face's coverage is sigmoid(-dists / sigma).
        gamma: softness of depth, in fractions of far - near: the nearer face outweighs the other by exp(difference /
            gamma).
        near, far: depths (world units) that count as 1 and 0. A face beyond far weighs less than the background.
        background_eps: inverse depth of the background, and its least weight relative to the nearest face's 1.
    """

    sigma: float = 1e-4
    gamma: float = 1e-4
    near: float = 1.0
    far: float = 100.0
    background_eps: float = 1e-10

    def __post_init__(self) -> None:
        if not (0 < self.sigma < math.inf and 0 < self.gamma < math.inf and self.near < self.far):
            raise ConfigError(
                f"sigma is {self.sigma}, gamma {self.gamma}, depths from {self.near} to {self.far}",
                "use sigma and gamma above 0, and near < far",
            )
        if not 0 < self.background_eps < 1:
            raise ConfigError(f"background_eps is {self.background_eps}", "use a value between 0 and 1")


class BlendWeights(NamedTuple):
    """Shares of a pixel's colour; over the faces and the background they sum to 1.

    Attributes:
        faces: share of each fragment; 0 without one. The w_ij of equation 12.
        background: share of the background.
    """

    faces: Float[Tensor, "B H W K"]
    background: Float[Tensor, "B H W"]


def blend_weights(fragments: Fragments, blend: SoftBlend) -> BlendWeights:
    """w_j = D_j exp(zinv_j / gamma) / (sum_k D_k exp(zinv_k / gamma) + exp(eps / gamma)) (SoftRas, eqs. 2 and 3).

    D_j = sigmoid(-dists_j / sigma) and zinv = (far - z) / (far - near). As in PyTorch3D's ``softmax_rgb_blend`` the
    background's exponential is held at eps of the nearest face's or more, so that a pixel that no face covers is the
    background however small gamma is.
    """
    seen = fragments.pix_to_face >= 0
    coverage = torch.sigmoid(-fragments.dists / blend.sigma) * seen
    inverse_depth = (blend.far - fragments.zbuf) / (blend.far - blend.near) * seen
    nearest = inverse_depth.amax(-1, keepdim=True).clamp(min=blend.background_eps)
    scores = coverage * torch.exp((inverse_depth - nearest) / blend.gamma)
    background_score = torch.exp((blend.background_eps - nearest) / blend.gamma).clamp(min=blend.background_eps)
    total = scores.sum(-1, keepdim=True) + background_score
    return BlendWeights(scores / total, (background_score / total).squeeze(-1))


def face_pixel_sums(
    pix_to_face: Int[Tensor, "B H W K"], weights: Float[Tensor, "B H W K"], num_faces: int
) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F 2"]]:
    """Per face, the sum over pixels of its weights, and of its weights times the pixels' (u, v): sum_ij w_ij c_ij.

    The parts of the texture flow's pseudo-label (adaptive-gradient paper, equation 12).

    Args:
        pix_to_face: as ``Fragments`` has it; -1 for none.
        weights: as ``BlendWeights.faces``.
    """
    batch, height, width, _ = weights.shape
    seen = pix_to_face >= 0
    image, row, column, _ = torch.nonzero(seen, as_tuple=True)
    picked = weights[seen]
    index = image * num_faces + pix_to_face[seen]
    centers = pixel_centers(height, width, weights.device, weights.dtype)[row, column]
    values = torch.cat([picked[:, None], picked[:, None] * centers], -1)
    sums = values.new_zeros(batch * num_faces, 3).index_add(0, index, values).reshape(batch, num_faces, 3)
    return sums[..., 0], sums[..., 1:]
