"""The transformation on a GPU, by Triton kernels: coverage, and the channel passes as one differentiable step."""

from __future__ import annotations

from typing import Any

import torch
import triton
from jaxtyping import Float
from torch import Tensor

from raylift.rendering.surface_transform import triton_kernels as kernels
from raylift.rendering.surface_transform.coverage import Coverage, Pairs, group
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments

BLOCK = 64
"""Quads per program."""


def fused_pairs(fragments: UvFragments, texels: int, options: TransformOptions) -> Pairs:
    """The texels that each accepted quad owns, in the order of quads."""
    _, height, width = fragments.mask.shape
    uv = fragments.uv.detach().reshape(-1, 2).contiguous()
    seen = fragments.mask.flatten().to(torch.uint8)
    depth = fragments.depth.detach().flatten().contiguous()
    count, programs = len(seen), (triton.cdiv(len(seen), BLOCK),)
    starts = seen.new_zeros(count + 1, dtype=torch.int64)
    nothing = starts.new_empty(1)
    limits = uv.new_tensor([options.max_side, options.max_depth_step], dtype=torch.float64)
    sizes = limits, count, height, width, texels
    constants = {"OCTAHEDRAL": options.chart == "octahedral", "BLOCK": BLOCK, "enable_fp_fusion": False}
    with torch.cuda.device_of(uv):
        if count:
            outputs = starts[1:], nothing, nothing, uv
            kernels.find_pairs[programs](uv, seen, depth, starts, *outputs, *sizes, WRITES=False, **constants)
        starts = starts.cumsum(0)
        quad, row = starts.new_empty(2, int(starts[-1]))
        place = uv.new_empty(len(quad), 2)
        if len(quad):
            outputs = nothing, quad, row, place
            kernels.find_pairs[programs](uv, seen, depth, starts, *outputs, *sizes, WRITES=True, **constants)
    return Pairs(quad, row, place)


def transform_fused(
    features: Float[Tensor, "B D P"], uv: Float[Tensor, "B P 2"], coverage: Coverage
) -> Float[Tensor, "B D R"]:
    """What ``transform_compiled`` returns."""
    rows = features.movedim(1, -1).flatten(0, 1)
    out: Tensor = _Fused.apply(rows, uv.flatten(0, 1), coverage)
    return out.reshape(len(features), coverage.rows_per_image, features.shape[1]).movedim(-1, 1)


class _Fused(torch.autograd.Function):
    """The kernels with their memory, over rows of channels."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, uv: Tensor, coverage: Coverage) -> Tensor:
        features, uv = features.detach().contiguous(), uv.detach().contiguous()
        num_rows, channels = len(coverage.row_start) - 1, features.shape[1]
        out = features.new_empty(num_rows, channels)
        pairs = coverage.row_start, coverage.quad, coverage.place.to(features.dtype)
        with torch.cuda.device_of(features):
            if num_rows:
                sizes = coverage.pixels[2], channels
                kernels.gather_rows[(num_rows,)](features, *pairs, out, *sizes, LANES=_lanes(channels))
        ctx.save_for_backward(features, uv)
        ctx.coverage = coverage
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        features, uv = ctx.saved_tensors
        coverage: Coverage = ctx.coverage
        by_out, (with_features, with_uv) = by_out.contiguous(), ctx.needs_input_grad[:2]
        _, height, width = coverage.pixels
        channels, place = features.shape[1], coverage.place.to(features.dtype)
        lanes, row_start, row = _lanes(channels), coverage.row_start, coverage.row
        by_features, by_uv = torch.zeros_like(features), torch.zeros_like(uv)
        pull = features.new_empty(len(row), 2)
        with torch.cuda.device_of(features):
            if len(row):
                if with_uv:
                    inputs = features, uv, row_start, row, coverage.quad, place, by_out
                    kernels.pull_pairs[(len(row),)](*inputs, pull, width, channels, LANES=lanes)
                kernels.gather_pixels[(len(uv),)](
                    *group(coverage.quad, len(uv)),
                    *(row, row_start, place, by_out, pull, by_features, by_uv, height, width, channels),
                    WITH_FEATURES=with_features,
                    WITH_UV=with_uv,
                    LANES=lanes,
                )
        return by_features if with_features else None, by_uv if with_uv else None, None


def _lanes(channels: int) -> int:
    """The next power of two: what Triton's ranges take."""
    return int(triton.next_power_of_2(channels))
