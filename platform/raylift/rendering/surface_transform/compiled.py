"""The compiled channel passes as one differentiable step, on the CPU, in float32 or float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.surface_transform.channel_kernels import gather_pixels, gather_rows, pull_pairs
from raylift.rendering.surface_transform.coverage import Coverage, group
from raylift.rendering.surface_transform.packing_kernels import TILE, mark_corners, pack_rows, unpack_rows


def transform_compiled(
    features: Float[Tensor, "B D P"], uv: Float[Tensor, "B P 2"], coverage: Coverage
) -> Float[Tensor, "B D R"]:
    """Features of every texel of ``coverage``; gradients reach features and UVs."""
    out: Tensor = _Transform.apply(features, uv, coverage)
    return out


class _Transform(torch.autograd.Function):
    """The kernels with their memory."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, uv: Tensor, coverage: Coverage) -> Tensor:
        batch, channels, pixels = features.shape
        used = np.zeros(batch * pixels, np.uint8)
        mark_corners(coverage.quad.numpy(), coverage.pixels[2], used)
        rows = _rows_of(features.detach(), used)
        out = features.new_empty(batch, coverage.rows_per_image, channels)
        inputs = rows.numpy(), *_pairs(coverage, rows)
        run_tasks(gather_rows, out.shape[0] * out.shape[1], *inputs, out.flatten(0, 1).numpy())
        ctx.save_for_backward(rows, uv)
        ctx.coverage, ctx.used = coverage, used
        return out.movedim(-1, 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, by_out: Tensor) -> tuple[Tensor | None, ...]:
        rows, uv = ctx.saved_tensors
        coverage: Coverage = ctx.coverage
        batch, height, width = coverage.pixels
        with_features, with_uv = ctx.needs_input_grad[:2]
        row_start, quad, place, _ = pairs = _pairs(coverage, rows)
        pulls = _rows_of(by_out, np.diff(row_start).astype(bool).view(np.uint8)).numpy()
        by_place = rows.new_empty(len(quad) if with_uv else 0, 2)
        if with_uv:
            inputs = rows.numpy(), uv.detach().flatten(0, 1).contiguous().numpy(), *pairs
            run_tasks(pull_pairs, len(pulls), *inputs, pulls, by_place.numpy())
        by_rows = rows.new_empty(len(rows) if with_features else 0, rows.shape[1])
        by_uv = uv.new_zeros(len(rows) if with_uv else 0, 2)
        by_quad = (part.numpy() for part in group(coverage.quad, len(rows)))
        sources = *by_quad, coverage.row.numpy(), row_start, place, pulls, by_place.numpy(), ctx.used
        run_tasks(gather_pixels, batch * height, (height, width), *sources, by_rows.numpy(), by_uv.numpy())
        return (
            _planes_of(by_rows, ctx.used, batch) if with_features else None,
            by_uv.unflatten(0, (batch, -1)) if with_uv else None,
            None,
        )


def _pairs(coverage: Coverage, rows: Tensor) -> tuple[Any, ...]:
    """Row starts, quads, places and the images' width, as kernels take them."""
    place = coverage.place.to(rows.dtype).numpy()
    return coverage.row_start.numpy(), coverage.quad.numpy(), place, coverage.pixels[2]


def _num_tiles(batch: int, pixels: int) -> int:
    return batch * -(-pixels // TILE)


def _rows_of(planes: Float[Tensor, "B D P"], used: np.ndarray) -> Float[Tensor, "B*P D"]:
    """Channels of each pixel, next to each other: a view if they are, else a copy of the used ones alone."""
    batch, channels, pixels = planes.shape
    rows = planes.movedim(1, -1)
    if rows.is_contiguous():
        return rows.reshape(batch * pixels, channels)
    packed = planes.new_empty(batch * pixels, channels)
    run_tasks(pack_rows, _num_tiles(batch, pixels), planes.contiguous().numpy(), used, packed.numpy())
    return packed


def _planes_of(rows: Float[Tensor, "B*P D"], used: np.ndarray, batch: int) -> Float[Tensor, "B D P"]:
    planes = rows.new_zeros(batch, rows.shape[1], len(rows) // max(batch, 1))
    run_tasks(unpack_rows, _num_tiles(batch, planes.shape[2]), rows.numpy(), used, planes.numpy())
    return planes
