"""Which quads of pixels each texel takes its features from, and where it is in them: the pass without channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.kernel_threads import run_tasks
from raylift.rendering.surface_transform.coverage_kernels import count_pairs, fill_pairs, group_pairs
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments


@dataclass(frozen=True)
class Coverage:
    """Pairs of a texel and a quad that owns it, texel by texel (compressed sparse rows). Constants.

    Pixels count through the batch, p = (b H + i) W + j, and a quad is named by its upper left pixel. Within a texel
    quads ascend, so the order of pairs depends on nothing but the fragments.

    Attributes:
        pixels: (B, H, W).
        rows: shape of the texels that ``row_start`` counts through: (B, N, N), or (B, K) if K were selected.
        row_start: first pair of each texel; the last entry is E.
        row: texel of each pair.
        quad: quad of each pair.
        place: (s, t) of the texel in the quad, in [0, 1]: to the right, and downwards.
        num_dropped: pairs beyond ``max_quads``, of each image.
    """

    pixels: tuple[int, int, int]
    rows: tuple[int, ...]
    row_start: Int[Tensor, "R+1"]
    row: Int[Tensor, "E"]
    quad: Int[Tensor, "E"]
    place: Float[Tensor, "E 2"]
    num_dropped: Int[Tensor, "B"]

    @property
    def num_quads(self) -> Int[Tensor, "B ..."]:
        """Number of quads that each texel is the mean of; 0 where it is not seen."""
        return self.row_start.diff().reshape(self.rows)

    @property
    def rows_per_image(self) -> int:
        return math.prod(self.rows[1:])

    def select(self, chosen: Int[Tensor, "B K"]) -> Coverage:
        """The coverage of K texels of each image alone, in that order; a texel may be chosen more than once.

        Args:
            chosen: j N + i of each texel; row j is at v = (j + 1/2) / N.
        """
        per_image = self.rows_per_image
        if (
            chosen.device.type == "cpu"
            and chosen.numel()
            and not 0 <= int(chosen.min()) <= int(chosen.max()) < per_image
        ):
            raise DataError(
                f"chosen texels are from {int(chosen.min())} to {int(chosen.max())}", f"use 0 to {per_image - 1}"
            )
        image = torch.arange(len(chosen), device=chosen.device)[:, None]
        texel = (image * per_image + chosen).flatten()
        lengths = self.row_start.diff()[texel]
        row_start = _starts(lengths)
        row = torch.repeat_interleave(torch.arange(len(texel), device=texel.device), lengths)
        pair = torch.arange(len(row), device=row.device) + (self.row_start[texel] - row_start[:-1])[row]
        rows = (self.rows[0], chosen.shape[1])
        return Coverage(self.pixels, rows, row_start, row, self.quad[pair], self.place[pair], self.num_dropped)


class Pairs(NamedTuple):
    """Pairs in the order of quads."""

    quad: Int[Tensor, "E"]
    row: Int[Tensor, "E"]
    place: Float[Tensor, "E 2"]


@torch.no_grad()
def cover_texels(fragments: UvFragments, texels: int, options: TransformOptions | None = None) -> Coverage:
    """Find the quads that own each of N x N texels, for B images; deterministic, for any number of threads.

    Texel (j, i) of the chart has its centre at u = (i + 1/2) / N, v = (j + 1/2) / N. It belongs to the accepted quads
    (``TransformOptions``) that contain it, with their left and upper edges; all of them count unless ``max_quads`` says
    otherwise.

    Raises:
        DataError: no texels, or coordinates that are not finite.
    """
    options = options or TransformOptions()
    if texels < 1:
        raise DataError(f"the surface has {texels} texels per side", "use at least 1, such as 64")
    device = fragments.uv.device
    if device.type == "cpu":
        if not bool(torch.isfinite(fragments.uv).all()):
            raise DataError("UVs are not finite", "a diverged pose gives such values: use a lower learning rate")
        pairs = _compiled_pairs(fragments, texels, options)
    elif device.type == "cuda" and find_spec("triton") is not None:
        from raylift.rendering.surface_transform.fused import fused_pairs

        pairs = fused_pairs(fragments, texels, options)
    else:
        from raylift.rendering.surface_transform.plain import plain_pairs

        pairs = plain_pairs(fragments, texels, options)
    return coverage_of(pairs, tuple(fragments.mask.shape), texels, options.max_quads)


def coverage_of(pairs: Pairs, pixels: tuple[int, ...], texels: int, max_quads: int | None) -> Coverage:
    """Sort pairs by texel, and drop those beyond ``max_quads``."""
    batch, height, width = pixels
    row_start, order = group(pairs.row, batch * texels * texels)
    quad, row, place = pairs.quad[order], pairs.row[order], pairs.place[order]
    num_dropped = torch.zeros(batch, dtype=torch.int64, device=row.device)
    if max_quads is not None:
        rank = torch.arange(len(row), device=row.device) - row_start[row]
        kept = rank < max_quads
        num_dropped.index_add_(0, row[~kept] // (texels * texels), torch.ones_like(row[~kept]))
        quad, row, place = quad[kept], row[kept], place[kept]
        row_start = _starts(row_start.diff().clamp(max=max_quads))
    return Coverage((batch, height, width), (batch, texels, texels), row_start, row, quad, place, num_dropped)


def group(keys: Int[Tensor, "E"], num_keys: int) -> tuple[Int[Tensor, "R+1"], Int[Tensor, "E"]]:
    """The first pair of each key, and the pairs in the order of keys, otherwise as they were."""
    if keys.device.type == "cpu":
        starts, order = np.zeros(num_keys + 1, np.int64), np.empty(len(keys), np.int64)
        group_pairs(keys.numpy(), starts, order)
        return torch.from_numpy(starts), torch.from_numpy(order)
    by_key = torch.sort(keys, stable=True)
    return torch.searchsorted(by_key.values, torch.arange(num_keys + 1, device=keys.device)), by_key.indices


def _starts(counts: Int[Tensor, "R"]) -> Int[Tensor, "R+1"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _compiled_pairs(fragments: UvFragments, texels: int, options: TransformOptions) -> Pairs:
    batch, height, width = fragments.mask.shape
    pixels = batch * height * width
    uv = fragments.uv.detach().reshape(pixels, 2).contiguous().numpy()
    mask, depth = fragments.mask.flatten().numpy(), fragments.depth.detach().flatten().numpy()
    inputs = uv, mask, depth, (height, width), texels
    rules = options.max_side, options.max_depth_step, options.chart == "octahedral"
    tasks = batch * max(height - 1, 0)
    starts = np.zeros(pixels + 1, np.int64)
    run_tasks(count_pairs, tasks, *inputs, rules, starts[1:])
    np.cumsum(starts, out=starts)
    quad, row = np.empty((2, starts[-1]), np.int64)
    place = np.empty((starts[-1], 2), uv.dtype)
    run_tasks(fill_pairs, tasks, *inputs, rules, starts, quad, row, place)
    return Pairs(torch.from_numpy(quad), torch.from_numpy(row), torch.from_numpy(place))
