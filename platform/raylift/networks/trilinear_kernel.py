"""Trilinear reading of volumes without gradients, compiled for the CPU: bit-identical to ``grid_sample``.

PyTorch processes a volume channel by channel, where the corners of a cell are far apart in memory. Here the channels of
a corner are contiguous and are read at once. An extraction needs some hundred channels at hundreds of thousands of
points.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from raylift.core.kernel_threads import run_tasks

_POINTS_PER_TASK = 2048


def read_volumes(volumes: Float[Tensor, "B C D H W"], grid: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N C"]:
    """Values at points in [-1, 1]^3, ordered as in ``grid_sample``: W first. Border values beyond the border.

    Args:
        volumes, grid: float32, on the CPU.
    """
    corners = volumes.detach().permute(0, 2, 3, 4, 1).contiguous().numpy()
    places = grid.detach().contiguous().numpy()
    values = np.empty((*places.shape[:2], corners.shape[4]), np.float32)
    for index in range(len(places)):
        run_tasks(_read, -(-places.shape[1] // _POINTS_PER_TASK), corners[index], places[index], values[index])
    return torch.from_numpy(values)


@njit(cache=True, nogil=True)
def _place(coordinate, size):  # type: ignore[no-untyped-def]
    """Convert to cells from the first one's centre, clamped to the volume."""
    place = ((coordinate + np.float32(1)) * np.float32(size) - np.float32(1)) / np.float32(2)
    return min(np.float32(size - 1), max(place, np.float32(0)))


@njit(cache=True, nogil=True)
def _read(first, end, volume, places, values):  # type: ignore[no-untyped-def]
    # float32 throughout, with PyTorch's weights and its order of summation.
    depth, height, width, channels = volume.shape
    for n in range(first * _POINTS_PER_TASK, min(end * _POINTS_PER_TASK, len(places))):
        x, y, z = _place(places[n, 0], width), _place(places[n, 1], height), _place(places[n, 2], depth)
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        # In the last cell the next one has weight 0: any valid index works.
        ii, jj, kk = min(i + 1, width - 1), min(j + 1, height - 1), min(k + 1, depth - 1)
        right, below, behind = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        left, above, before = np.float32(i + 1) - x, np.float32(j + 1) - y, np.float32(k + 1) - z
        a, b = left * above * before, right * above * before
        c, d = left * below * before, right * below * before
        e, f = left * above * behind, right * above * behind
        g, h = left * below * behind, right * below * behind
        at_a, at_b, at_c, at_d = volume[k, j, i], volume[k, j, ii], volume[k, jj, i], volume[k, jj, ii]
        at_e, at_f, at_g, at_h = volume[kk, j, i], volume[kk, j, ii], volume[kk, jj, i], volume[kk, jj, ii]
        value = values[n]
        for channel in range(channels):
            total = at_a[channel] * a
            total += at_b[channel] * b
            total += at_c[channel] * c
            total += at_d[channel] * d
            total += at_e[channel] * e
            total += at_f[channel] * f
            total += at_g[channel] * g
            total += at_h[channel] * h
            value[channel] = total
