"""Equations 1 to 5 of DMNT's appendix A.1 as they are printed, for one quad and one texel, to hold against ours.

Where the print leaves a reading open, the simplest is taken: u is both coordinates, and w_k is the product of bilinear
interpolation, since barycentric coordinates in a quadrilateral are not unique.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.rendering.surface_transform.plain import bilinear_weights, inverse_bilinear_newton, newton_step


def weights(corners: Float[Tensor, "4 2"], texel: Float[Tensor, "2"]) -> Float[Tensor, "4"]:
    """w_1 .. w_4, with gradients to the corners."""
    place = inverse_bilinear_newton(corners.detach()[None], texel[None])
    return bilinear_weights(place + newton_step(corners[None], place, texel[None]))[0]


def surface_feature(quads: list[tuple[Tensor, Tensor]]) -> Float[Tensor, "C"]:
    """Equation 1 over the quads at a texel: the sum of w_k F_pk, for each quad's weights [4] and features [4, C]."""
    return torch.stack([weight @ features for weight, features in quads]).sum(dim=0)


def feature_gradient(shares: Float[Tensor, "Q"], upstream: Float[Tensor, "C"]) -> Float[Tensor, "C"]:
    """Equation 2: the sum over quads of w_k dL/dF_(u,v), for the one texel (u, v) that it names."""
    return shares.sum() * upstream


def own_slopes(corners: Float[Tensor, "4 2"], texel: Float[Tensor, "2"]) -> Float[Tensor, "4 2"]:
    """dw_k / du_pk: of each weight by its own corner, exact."""
    return all_slopes(corners, texel).diagonal(dim1=0, dim2=1).mT


def all_slopes(corners: Float[Tensor, "4 2"], texel: Float[Tensor, "2"]) -> Float[Tensor, "4 4 2"]:
    """dw_k / du_pj: of each weight by every corner, exact."""
    found: Tensor = torch.func.jacrev(weights)(corners, texel)
    return found


def printed_own_slopes(slopes: Float[Tensor, "4 2"], weight: Float[Tensor, "4"]) -> Float[Tensor, "4 2"]:
    """The right side of equation 4, which has dw_k / du_pk on its left too."""
    total = weight.sum()
    others = (slopes * weight[:, None]).sum(dim=0) - slopes * weight[:, None]
    return slopes * ((total - weight) / total)[:, None] - others / total


def printed_by_weight(feature: Float[Tensor, "C"]) -> Float[Tensor, ""]:
    """Equation 5: dF / dw_k = sum over channels of F_(u,v), for every k."""
    return feature.sum()


def uv_gradient(
    slopes: Float[Tensor, "4 2"], by_weight: Float[Tensor, ""], upstream: Float[Tensor, "C"]
) -> Float[Tensor, "4 2"]:
    """Equation 3 for one quad: dL/dF (dF/dw_k) (dw_k/du_pk), for the corner p_k."""
    return upstream.sum() * by_weight * slopes
