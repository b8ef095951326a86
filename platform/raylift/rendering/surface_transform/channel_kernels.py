"""Compiled channel passes: features gathered by texel, gradients gathered by pixel. No two tasks write to one place.

They work on rows of channels (``packing_kernels``), which vectorise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def corner_weights(real: Any, s: float, t: float) -> tuple[float, float, float, float]:
    """Bilinear weights of a, b, c and d."""
    one = real(1)
    return (one - s) * (one - t), s * (one - t), s * t, (one - s) * t


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def gather_rows(
    first: int,
    end: int,
    features: np.ndarray,
    row_start: np.ndarray,
    quad: np.ndarray,
    place: np.ndarray,
    width: int,
    out: np.ndarray,
) -> None:
    """Rows [first, end) of ``out`` [R, D]: means over their quads of the corners' features [P, D]."""
    real = features.dtype.type
    channels = features.shape[1]
    for row in range(first, end):
        target = out[row]
        begin, stop = row_start[row], row_start[row + 1]
        if begin == stop:
            target[:] = real(0)
            continue
        share = real(1) / real(stop - begin)
        for pair in range(begin, stop):
            a = quad[pair]
            wa, wb, wc, wd = corner_weights(real, place[pair, 0], place[pair, 1])
            wa, wb, wc, wd = wa * share, wb * share, wc * share, wd * share
            fa, fb, fc, fd = features[a], features[a + 1], features[a + width + 1], features[a + width]
            if pair == begin:
                for c in range(channels):
                    target[c] = wa * fa[c] + wb * fb[c] + wc * fc[c] + wd * fd[c]
            else:
                for c in range(channels):
                    target[c] += wa * fa[c] + wb * fb[c] + wc * fc[c] + wd * fd[c]


@njit(cache=True, fastmath={"contract", "reassoc"}, nogil=True, error_model="numpy")
def pull_pairs(
    first: int,
    end: int,
    features: np.ndarray,
    uv: np.ndarray,
    row_start: np.ndarray,
    quad: np.ndarray,
    place: np.ndarray,
    width: int,
    by_out: np.ndarray,
    pull: np.ndarray,
) -> None:
    """``pull`` [E, 2] = z / n of the pairs of rows [first, end), z = J^-T (F_s . g, F_t . g)."""
    real = features.dtype.type
    one, zero = real(1), real(0)
    channels = features.shape[1]
    for row in range(first, end):
        begin, stop = row_start[row], row_start[row + 1]
        if begin == stop:
            continue
        share = one / real(stop - begin)
        g = by_out[row]
        for pair in range(begin, stop):
            a = quad[pair]
            b, c, d = a + 1, a + width + 1, a + width
            s, t = place[pair, 0], place[pair, 1]
            fa, fb, fc, fd = features[a], features[b], features[c], features[d]
            ga, gb, gc, gd = zero, zero, zero, zero
            for lane in range(channels):
                ga += fa[lane] * g[lane]
                gb += fb[lane] * g[lane]
                gc += fc[lane] * g[lane]
                gd += fd[lane] * g[lane]
            by_s = (one - t) * (gb - ga) + t * (gc - gd)
            by_t = (one - s) * (gd - ga) + s * (gc - gb)
            us = (one - t) * (uv[b, 0] - uv[a, 0]) + t * (uv[c, 0] - uv[d, 0])
            vs = (one - t) * (uv[b, 1] - uv[a, 1]) + t * (uv[c, 1] - uv[d, 1])
            ut = (one - s) * (uv[d, 0] - uv[a, 0]) + s * (uv[c, 0] - uv[b, 0])
            vt = (one - s) * (uv[d, 1] - uv[a, 1]) + s * (uv[c, 1] - uv[b, 1])
            scale = share / (us * vt - ut * vs)
            pull[pair, 0] = scale * (vt * by_s - vs * by_t)
            pull[pair, 1] = scale * (us * by_t - ut * by_s)


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def gather_pixels(
    first: int,
    end: int,
    size: tuple[int, int],
    quad_start: np.ndarray,
    order: np.ndarray,
    row: np.ndarray,
    row_start: np.ndarray,
    place: np.ndarray,
    by_out: np.ndarray,
    pull: np.ndarray,
    used: np.ndarray,
    by_features: np.ndarray,
    by_uv: np.ndarray,
) -> None:
    """Gradients of lines [first, end) of pixels of all images, from the quads around each.

    by f_k: sum of w_k / n g; by u_k: -sum of w_k z / n. An output without rows is not wanted.

    Args:
        quad_start, order: pairs of each quad.
        row: texel of each pair.
        pull: z / n of each pair.
        used: pixels that are corners of quads; the others are left as they are.
    """
    real = by_out.dtype.type
    channels = by_out.shape[1]
    height, width = size
    with_features, with_uv = by_features.shape[0] > 0, by_uv.shape[0] > 0
    for line in range(first, end):
        for column in range(width):
            pixel = line * width + column
            if not used[pixel]:
                continue
            if with_features:
                by_features[pixel] = real(0)
            for corner in range(4):
                left, up = corner == 1 or corner == 2, corner >= 2
                if (left and column == 0) or (up and line % height == 0):
                    continue
                a = pixel - (1 if left else 0) - (width if up else 0)
                for at in range(quad_start[a], quad_start[a + 1]):
                    pair = order[at]
                    texel = row[pair]
                    weight = corner_weights(real, place[pair, 0], place[pair, 1])[corner]
                    if with_uv:
                        by_uv[pixel, 0] -= weight * pull[pair, 0]
                        by_uv[pixel, 1] -= weight * pull[pair, 1]
                    if with_features:
                        weight /= real(row_start[texel + 1] - row_start[texel])
                        g, target = by_out[texel], by_features[pixel]
                        for c in range(channels):
                            target[c] += weight * g[c]
