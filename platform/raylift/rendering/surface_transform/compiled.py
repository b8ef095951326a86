"""The compiled channel passes as one differentiable step, on the CPU, in float32 or float64."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.surface_transform.channel_kernels import gather_pixels, gather_rows, pull_pairs
from raylift.rendering.surface_transform.coverage import Coverage, group


def transform_compiled(
    features: Float[Tensor, "P D"], uv: Float[Tensor, "P 2"], coverage: Coverage
) -> Float[Tensor, "R D"]:
    """Features of every texel of ``coverage``; gradients reach features and UVs."""
    out: Tensor = _Transform.apply(features, uv, coverage)
    return out


class _Transform(torch.autograd.Function):
    """The kernels with their memory."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, uv: Tensor, coverage: Coverage) -> Tensor:
        features, uv = features.detach().contiguous(), uv.detach().contiguous()
        out = features.new_empty(len(coverage.row_start) - 1, features.shape[1])
        run_tasks(gather_rows, len(out), features.numpy(), *_pairs(coverage, features), out.numpy())
        ctx.save_for_backward(features, uv)
        ctx.coverage = coverage
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        features, uv = ctx.saved_tensors
        coverage: Coverage = ctx.coverage
        by_out = by_out.contiguous()
        batch, height, width = coverage.pixels
        with_features, with_uv = ctx.needs_input_grad[:2]
        row_start, quad, place, _ = pairs = _pairs(coverage, features)
        pull = features.new_empty(len(quad) if with_uv else 0, 2)
        if with_uv:
            inputs = features.numpy(), uv.numpy(), *pairs
            run_tasks(pull_pairs, len(by_out), *inputs, by_out.numpy(), pull.numpy())
        by_features = features.new_empty(len(features) if with_features else 0, features.shape[1])
        by_uv = uv.new_empty(len(uv) if with_uv else 0, 2)
        by_quad = (part.numpy() for part in group(coverage.quad, len(uv)))
        inputs = (height, width), *by_quad, coverage.row.numpy(), row_start, place
        outputs = by_features.numpy(), by_uv.numpy()
        run_tasks(gather_pixels, batch * height, *inputs, by_out.numpy(), pull.numpy(), *outputs)
        return by_features if with_features else None, by_uv if with_uv else None, None


def _pairs(coverage: Coverage, features: Tensor) -> tuple[Any, ...]:
    """Row starts, quads, places and the images' width, as kernels take them."""
    place = coverage.place.to(features.dtype).numpy()
    return coverage.row_start.numpy(), coverage.quad.numpy(), place, coverage.pixels[2]
