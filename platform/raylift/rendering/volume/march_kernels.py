"""Compiled forward pass of the ray-marcher: density first, features only where they count.

A task is a band of pixels of one view and writes to its own pixels only: results are the same bits for any number of
threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uintp

from raylift.rendering.vector_exp import vector_exp
from raylift.rendering.volume.cells import (
    BRICK_BITS,
    LANES,
    blend,
    corner_places,
    corner_weights,
    locate,
    num_bricks,
    read_corners,
    stays_inside,
)
from raylift.rendering.volume.lanes import add_blend

UNREAD = -1.0
"""Read weight of a sample whose features are not read."""
EMPTY = -1.0
"""Opacity of a sample that counts as none."""
BLOCK = 24
"""Samples whose opacities are computed together; a march that ends wastes those of the rest of a block."""


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def fill_opacities(
    first: int,
    end: int,
    ray: np.ndarray,
    density: np.ndarray,
    bricks: np.ndarray,
    size: tuple[int, int, int],
    occupancy: bool,
    limit: float,
    skips: bool,
    opacity: np.ndarray,
) -> None:
    """opacity [N] = a of samples [first, end) of one ray, or EMPTY where it counts as none.

    Densities are read first and exponentials follow in a loop of their own, which the compiler vectorises.

    Args:
        ray: start, step (padded cells), spacing, depth, depth step; it stays inside.
        density: of one volume, in a row; ``size`` cells.
        bricks: in a row, 0 where no sample reads more than ``limit``.
        limit: density that counts as none if ``skips``.
    """
    real = density.dtype.type
    zero, one, empty, least_value = real(0), real(1), real(EMPTY), real(limit)
    x0, y0, z0, dx, dy, dz, spacing = ray[0], ray[1], ray[2], ray[3], ray[4], ray[5], ray[6]
    ny, nz = num_bricks(size[1]), num_bricks(size[2])
    some = False
    for at in range(first, end):
        n = real(at)
        x, y, z = x0 + n * dx, y0 + n * dy, z0 + n * dz
        i, j, k = int(x), int(y), int(z)
        value = empty
        if not skips or bricks[uintp(((i >> BRICK_BITS) * ny + (j >> BRICK_BITS)) * nz + (k >> BRICK_BITS))]:
            corners = read_corners(density, corner_places((i * size[1] + j) * size[2] + k, size, 1), 0)
            found = blend(real, corners, x - real(i), y - real(j), z - real(k))
            if not skips or found > least_value:
                value, some = found, True
        opacity[uintp(at)] = value
    if not some:
        return
    for at in range(first, end):
        value = opacity[uintp(at)]
        stopped = min(value, one) if occupancy else one - vector_exp(-value * spacing)
        opacity[uintp(at)] = stopped if value >= zero else empty


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def composite(
    first: int,
    end: int,
    opacity: np.ndarray,
    min_weight: float,
    stop: float,
    state: tuple[float, float, int],
    index: np.ndarray,
    light: np.ndarray,
    read_weight: np.ndarray,
) -> tuple[tuple[float, float, int], int]:
    """Record samples [first, end) of one ray that stop light, front to back.

    A sample's features are not read as long as it and the unread samples before it weigh less than ``min_weight``
    together; their weight is handed on to the next sample that is read, or else, by ``close_records``, to the last one.

    Args:
        opacity: of the ray's samples, see ``fill_opacities``.
        stop: transmittance that ends the march; with 0 nothing does: an opaque sample's gradient needs what it hides.
        state: transmittance, weight not handed on yet, and number of records; at first 1, 0 and 0.
        index, light, read_weight: per record, the sample, the transmittance before it, and the weight that its features
            get or UNREAD; with room for all samples.

    Returns:
        the next state, and the sample that the march ended before; beyond ``end`` if it goes on.
    """
    real = opacity.dtype.type
    one, least, last_light, stops = real(1), real(min_weight), real(stop), stop > 0
    passed, pending, count = state
    for at in range(first, end):
        stopped = opacity[at]
        if stopped < real(0):
            continue
        index[count], light[count] = at, passed
        pending += passed * stopped
        unread = pending < least
        read_weight[count] = real(UNREAD) if unread else pending
        pending = pending if unread else real(0)
        passed *= one - stopped
        count += 1
        if stops and passed <= last_light:
            return (passed, pending, count), at + 1
    return (passed, pending, count), end + 1


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def close_records(state: tuple[float, float, int], read_weight: np.ndarray) -> int:
    """Hand the weight of unread samples at a ray's end to its last record; returns the number of records."""
    _, pending, count = state
    if pending > 0:
        read_weight[count - 1] = pending
    return count


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def add_features(
    real: Any,
    ray: np.ndarray,
    at: int,
    features: np.ndarray,
    size: tuple[int, int, int],
    weight: float,
    total: np.ndarray,
) -> None:
    """total [lanes] += weight * features at a sample of a ray."""
    lanes = total.shape[0]
    cell, fx, fy, fz = locate(real, ray, at, size)
    places, weights = corner_places(cell, size, lanes), corner_weights(real, fx, fy, fz, weight)
    for lane in range(0, lanes, LANES):
        add_blend(total, features, lane, places, weights)


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def render_bands(
    first: int,
    end: int,
    num_bands: int,
    rays: np.ndarray,
    grid_of_view: np.ndarray,
    density: np.ndarray,
    features: np.ndarray,
    occupied: np.ndarray,
    size: tuple[int, int, int],
    num_samples: int,
    occupancy: bool,
    limit: float,
    min_weight: float,
    stop: float,
    seen: np.ndarray,
    alpha: np.ndarray,
    depth: np.ndarray,
    opacities: np.ndarray,
) -> None:
    """Tasks [first, end): a band of pixels each of ``seen`` [V, C, P], ``alpha`` and ``depth`` [V, P].

    Args:
        rays: [V, P, 9], see ``fill_opacities``.
        density, features: [B, cells] and [B, cells * lanes], see ``cells``.
        occupied: bricks of each volume.
        opacities: [V, P, N], filled for a backward pass, or [0, P, N] if there is none.
    """
    real = density.dtype.type
    index, scratch = np.empty(num_samples, np.int64), np.empty(num_samples, real)
    light, read_weight = np.empty(num_samples, real), np.empty(num_samples, real)
    total = np.empty(features.shape[1] // density.shape[1], real)
    pixels, keeps, skips = rays.shape[1], opacities.shape[0] > 0, min_weight > 0
    for task in range(first, end):
        view, band = task // num_bands, task % num_bands
        volume = grid_of_view[view]
        cells, colors, bricks = density[volume], features[volume], occupied[volume]
        for pixel in range(band * pixels // num_bands, (band + 1) * pixels // num_bands):
            ray = rays[view, pixel]
            opacity = opacities[view, pixel] if keeps else scratch
            total[:] = real(0)
            covered, far = real(0), real(0)
            if stays_inside(real, ray, num_samples - 1, size):
                state = (real(1), real(0), 0)
                for begin in range(0, num_samples, BLOCK):
                    last = min(begin + BLOCK, num_samples)
                    fill_opacities(begin, last, ray, cells, bricks, size, occupancy, limit, skips, opacity)
                    state, ended = composite(begin, last, opacity, min_weight, stop, state, index, light, read_weight)
                    if ended <= last:
                        break
                for record in range(close_records(state, read_weight)):
                    weight = light[record] * opacity[index[record]]
                    covered += weight
                    far += weight * (ray[7] + real(index[record]) * ray[8])
                    if read_weight[record] > real(0):
                        add_features(real, ray, index[record], colors, size, read_weight[record], total)
            alpha[view, pixel], depth[view, pixel] = covered, far
            for channel in range(seen.shape[1]):
                seen[view, channel, pixel] = total[channel]
