"""Texture by sampling the image, and how well it renders (adaptive-gradient paper, equations 7-11)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.geometry.uv_sphere import sample_texture


def sample_by_flow(image: Float[Tensor, "B C H W"], flow: Float[Tensor, "B 2 Ht Wt"]) -> Float[Tensor, "B C Ht Wt"]:
    """I_uv = GS(D_flow(F_e(I_r)), I_r) = GS(I_flow, I_r) (adaptive-gradient paper, equations 7 and 8).

    Args:
        image: I_r.
        flow: I_flow: image coordinates that each texel is read from, (u, v) in [-1, 1].

    Returns:
        The texture I_uv, read bilinearly; beyond the image, border values are repeated.
    """
    return functional.grid_sample(image, flow.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


def texture_on_faces(texture: Float[Tensor, "B C Ht Wt"], uvs: Float[Tensor, "F S 2"]) -> Float[Tensor, "B F S C"]:
    """Tex = phi(I_uv): the texture at S points of every face (adaptive-gradient paper, equation 9).

    Args:
        texture: I_uv, first row on top.
        uvs: phi^-1 of those points: ``geometry.uv_sphere.face_sample_uvs``.
    """
    return sample_texture(texture, uvs[None].expand(texture.shape[0], *uvs.shape))


def reconstruction_loss(rendered: Float[Tensor, "B C H W"], image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B H W"]:
    """||I_r - F_r(V_pred, phi(GS(I_flow, I_r)), cam)|| per pixel (adaptive-gradient paper, equation 10).

    The paper does not name the norm: this is the mean absolute difference over channels.

    Args:
        rendered: F_r's output, RGB in [0, 1].
        image: I_r, RGB in [0, 1]; composited on the same background.
    """
    return (rendered - image).abs().mean(dim=1)


def sample_varied_by_flow(
    image: Float[Tensor, "B C H W"], variance: Float[Tensor, "B V H W"], flow: Float[Tensor, "B 2 Ht Wt"]
) -> Float[Tensor, "B C Ht Wt"]:
    """I_uv = GS(I_flow, I_r * I_var) (adaptive-gradient paper, equation 11).

    Args:
        variance: I_var, with one channel or the image's; ones leave the image unchanged.
    """
    return sample_by_flow(image * variance, flow)


def sample_adaptively(
    image: Float[Tensor, "B C H W"], variance: Float[Tensor, "B V H W"], flow: Float[Tensor, "B 2 Ht Wt"]
) -> Float[Tensor, "B C Ht Wt"]:
    """The image's own colours, with the varied image's gradient: figure 6's two branches (adaptive-gradient paper).

    The value is equation 7's; the flow's gradient is that of equation 11 (I_grad^new, equation 17). I_var is treated as
    constant: a colour error that trained it would be lowered by repainting the image.
    """
    varied = sample_varied_by_flow(image, variance.detach(), flow)
    return sample_by_flow(image, flow).detach() + (varied - varied.detach())


def masked_mean(values: Float[Tensor, "B H W"], mask: Float[Tensor, "B H W"]) -> Float[Tensor, "B"]:
    """The mean of a per-pixel error over each image's mask; 0 where the mask is empty."""
    weight = mask.flatten(1)
    total = (values.flatten(1) * weight).sum(dim=1)
    return total / weight.sum(dim=1).clamp(min=torch.finfo(values.dtype).eps)
