"""Self-supervised co-part segmentation (SCOPS, Hung et al. 2019): its four losses, unreduced.

R are part responses after a softmax over parts, background first: [B, K + 1, H, W]; the losses on parts use the K parts
without the background.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize, relu

from raylift.geometry.cameras import pixel_centers

LEAST_MASS = 1e-6
LEAST_PROBABILITY = 1e-8


def part_centers(parts: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K 2"]:
    """(u_c, v_c) of each part: the mean pixel centre by response (SCOPS); normalised coordinates."""
    grid = pixel_centers(parts.shape[-2], parts.shape[-1], parts.device, parts.dtype)
    mass = parts.sum(dim=(-2, -1)).clamp(min=LEAST_MASS)
    return torch.einsum("bkhw,hwc->bkc", parts, grid) / mass[..., None]


def concentration_error(parts: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K"]:
    """Spread of each part around its centre: its variance (SCOPS).

    sum over pixels of ||(u, v) - (u_c, v_c)||^2 R(k, u, v) / z_k, with z_k the part's mass.
    """
    grid = pixel_centers(parts.shape[-2], parts.shape[-1], parts.device, parts.dtype)
    squared = (grid - part_centers(parts)[:, :, None, None]).square().sum(dim=-1)
    mass = parts.sum(dim=(-2, -1)).clamp(min=LEAST_MASS)
    return (squared * parts).sum(dim=(-2, -1)) / mass


def equivariance_error(
    warped_responses: Float[Tensor, "B C H W"], responses_of_warped: Float[Tensor, "B C H W"]
) -> Float[Tensor, "B H W"]:
    """D_KL(R' || T_s(R)) per pixel: parts must move with their image (SCOPS' equivariance, first part).

    Args:
        warped_responses: T_s(R): the image's responses, warped; a distribution over the C channels.
        responses_of_warped: R': the responses of the warped image.
    """
    ours = responses_of_warped.clamp(min=LEAST_PROBABILITY)
    theirs = warped_responses.clamp(min=LEAST_PROBABILITY)
    return (ours * (ours.log() - theirs.log())).sum(dim=1)


def center_equivariance_error(
    moved_centers: Float[Tensor, "B K 2"], centers_of_moved: Float[Tensor, "B K 2"]
) -> Float[Tensor, "B K"]:
    """||(u', v') - T_s(u, v)||^2 of part centres (SCOPS' equivariance, second part); normalised coordinates squared.

    Args:
        moved_centers: T_s of the image's part centres.
        centers_of_moved: part centres of the moved image.
    """
    return (centers_of_moved - moved_centers).square().sum(dim=-1)


def semantic_consistency_error(
    parts: Float[Tensor, "B K H W"],
    features: Float[Tensor, "B D H W"],
    basis: Float[Tensor, "K D"],
    saliency: Float[Tensor, "B 1 H W"],
) -> Float[Tensor, "B H W"]:
    """||V(u, v) - sum over k of R(k, u, v) w_k||^2 on the object (SCOPS).

    Args:
        features: V of a pretrained network, at least 0 (after a ReLU), of the responses' size.
        basis: w_k, one per part; negative entries count as 0, as in SCOPS.
        saliency: object coverage of each pixel, in [0, 1].
    """
    explained = torch.einsum("bkhw,kd->bdhw", parts, relu(basis))
    return (saliency * (features - explained)).square().sum(dim=1)


def orthonormality_error(basis: Float[Tensor, "K D"]) -> Float[Tensor, "K K"]:
    """The entries of (W W' - I)^2, W the basis with rows of unit length: parts must differ (SCOPS).

    It depends on parameters alone: each of W ranks contributes 1 / W of its sum.
    """
    unit = normalize(relu(basis), dim=-1)
    return (unit @ unit.mT - torch.eye(len(basis), dtype=basis.dtype, device=basis.device)).square()


def foreground_error(responses: Float[Tensor, "B C H W"], saliency: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B H W"]:
    """The binary cross-entropy of 1 - R(0, u, v), all parts together, and the object's true coverage.

    SCOPS has no such term: it only has estimated saliency, and multiplies features by it.
    """
    background = responses[:, 0].clamp(LEAST_PROBABILITY, 1.0)
    foreground = responses[:, 1:].sum(dim=1).clamp(LEAST_PROBABILITY, 1.0)
    wanted = saliency[:, 0]
    return -(wanted * foreground.log() + (1 - wanted) * background.log())


def imbalance_error(parts: Float[Tensor, "B K H W"], saliency: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B"]:
    """log K - H of the K parts' shares of each object, in nats: 0 for equal shares, log K for a single part.

    SCOPS has no such term. Without it, one part that explains the mean feature may cover everything: the others'
    responses are then too small to get a gradient.
    """
    mass = (parts * saliency).sum(dim=(2, 3))
    shares = (mass / mass.sum(dim=1, keepdim=True).clamp(min=LEAST_MASS)).clamp(min=LEAST_PROBABILITY)
    return math.log(parts.shape[1]) + (shares * shares.log()).sum(dim=1)
