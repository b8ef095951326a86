"""Weighted sums over the faces at a pixel, differentiable: of attributes of corners, and of a texture."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering.aggregation_kernels import (
    sum_attributes,
    sum_attributes_gradient,
    sum_texels,
    sum_texels_gradient,
)
from raylift.rendering.fragments import Fragments
from raylift.rendering.kernel_threads import run_tasks


def aggregate_attributes(
    fragments: Fragments, weights: Float[Tensor, "B H W K"], attributes: Float[Tensor, "#B F 3 C"]
) -> Float[Tensor, "B C H W"]:
    """sum_k w_k sum_c bary_kc a_c over the fragments of each pixel; gradients reach weights, bary_coords, attributes.

    Args:
        attributes: of each corner of each face, such as colours or part probabilities; a batch of 1 serves all images.
    """
    attributes = attributes.expand(weights.shape[0], -1, -1, -1)
    if weights.device.type == "cpu":
        out: Tensor = _SumAttributes.apply(fragments.pix_to_face, weights, fragments.bary_coords, attributes)
        return out
    return gathered_attributes(fragments, weights, attributes)


def aggregate_texture(
    fragments: Fragments,
    weights: Float[Tensor, "B H W K"],
    corner_uvs: Float[Tensor, "F 3 2"],
    texture: Float[Tensor, "#B C Ht Wt"],
) -> Float[Tensor, "B C H W"]:
    """sum_k w_k texture(sum_c bary_kc uv_c), bilinear, held at the border; gradients reach all but the coordinates.

    Args:
        corner_uvs: as ``Mesh`` has them: (0, 0) is the texture's bottom-left.
        texture: first row on top; a batch of 1 serves all images.

    Raises:
        DataError: a texture without texels.
    """
    if 0 in texture.shape[2:]:
        raise DataError(f"a texture of shape {tuple(texture.shape)}", "give at least one texel")
    texture = texture.expand(weights.shape[0], -1, -1, -1)
    if weights.device.type == "cpu":
        out: Tensor = _SumTexels.apply(
            fragments.pix_to_face, weights, fragments.bary_coords, corner_uvs.detach(), texture
        )
        return out
    return gathered_texture(fragments, weights, corner_uvs, texture)


def gathered_attributes(
    fragments: Fragments, weights: Float[Tensor, "B H W K"], attributes: Float[Tensor, "B F 3 C"]
) -> Float[Tensor, "B C H W"]:
    """``aggregate_attributes`` by torch, on any device: what a GPU does. Holds the corners of every fragment."""
    image = torch.arange(weights.shape[0], device=weights.device)[:, None, None, None]
    corners = attributes[image, fragments.pix_to_face.clamp(min=0)]
    return torch.einsum("bhwk,bhwki,bhwkic->bchw", weights, fragments.bary_coords, corners)


def gathered_texture(
    fragments: Fragments,
    weights: Float[Tensor, "B H W K"],
    corner_uvs: Float[Tensor, "F 3 2"],
    texture: Float[Tensor, "B C Ht Wt"],
) -> Float[Tensor, "B C H W"]:
    """``aggregate_texture`` by torch, on any device: what a GPU does. Holds the colour of every fragment."""
    uv = torch.einsum("bhwki,bhwkic->bhwkc", fragments.bary_coords, corner_uvs[fragments.pix_to_face.clamp(min=0)])
    batch, height, width, layers = weights.shape
    grid = (uv * uv.new_tensor([2, -2]) + uv.new_tensor([-1, 1])).reshape(batch, height, width * layers, 2)
    colors = torch.nn.functional.grid_sample(texture, grid, padding_mode="border", align_corners=False)
    return (colors.reshape(batch, -1, height, width, layers) * weights[:, None]).sum(-1)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _SumAttributes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pix_to_face: Tensor, weights: Tensor, bary: Tensor, attributes: Tensor) -> Tensor:
        out = weights.new_empty(weights.shape[0], attributes.shape[3], *weights.shape[1:3])
        run_tasks(sum_attributes, len(out), *_arrays(pix_to_face, weights, bary, attributes), out.numpy())
        ctx.save_for_backward(pix_to_face, weights, bary, attributes)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pix_to_face, weights, bary, attributes = ctx.saved_tensors
        gradients = torch.zeros_like(weights), torch.zeros_like(bary), attributes.new_zeros(attributes.shape).double()
        saved = _arrays(pix_to_face, weights, bary, attributes, gradient)
        run_tasks(sum_attributes_gradient, len(weights), *saved, *(part.numpy() for part in gradients))
        return None, gradients[0], gradients[1], gradients[2].to(attributes.dtype)


class _SumTexels(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, pix_to_face: Tensor, weights: Tensor, bary: Tensor, corner_uvs: Tensor, texture: Tensor
    ) -> Tensor:
        out = weights.new_empty(weights.shape[0], texture.shape[1], *weights.shape[1:3])
        run_tasks(sum_texels, len(out), *_arrays(pix_to_face, weights, bary, corner_uvs, texture), out.numpy())
        ctx.save_for_backward(pix_to_face, weights, bary, corner_uvs, texture)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        pix_to_face, weights, bary, corner_uvs, texture = ctx.saved_tensors
        gradients = torch.zeros_like(weights), torch.zeros_like(bary), texture.new_zeros(texture.shape).double()
        saved = _arrays(pix_to_face, weights, bary, corner_uvs, texture, gradient)
        run_tasks(sum_texels_gradient, len(weights), *saved, *(part.numpy() for part in gradients))
        return None, gradients[0], gradients[1], None, gradients[2].to(texture.dtype)
