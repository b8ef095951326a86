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
    weighted,
)

UNREAD = -1.0
"""Read weight of a sample whose features are not read."""


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def march(
    ray: np.ndarray,
    density: np.ndarray,
    bricks: np.ndarray,
    size: tuple[int, int, int],
    num_samples: int,
    occupancy: bool,
    limit: float,
    min_weight: float,
    stop: float,
    index: np.ndarray,
    opacity: np.ndarray,
    light: np.ndarray,
    read_weight: np.ndarray,
) -> tuple[int, int]:
    """Record the samples of one ray that stop light, front to back.

    A sample's features are not read as long as it and the unread samples before it weigh less than ``min_weight``
    together; their weight is handed on to the next sample that is read, or else to the last record.

    Args:
        ray: start, step (padded cells), spacing, depth, depth step; it stays inside.
        density: of one volume, in a row; ``size`` cells.
        bricks: in a row, 0 where no sample reads more than ``limit``.
        limit: density that counts as none; with min_weight 0 everything counts.
        stop: transmittance that ends the march; with 0 nothing does: an opaque sample's gradient needs what it hides.
        index, opacity, light, read_weight: per record, the sample, a, the transmittance before it, and the weight that
            its features get or UNREAD; with room for all samples.

    Returns:
        number of records, and the sample that the march ended before.
    """
    real = density.dtype.type
    zero, one, least, last_light = real(0), real(1), real(min_weight), real(stop)
    x0, y0, z0, dx, dy, dz, spacing = ray[0], ray[1], ray[2], ray[3], ray[4], ray[5], ray[6]
    skips, stops, least_value = min_weight > 0, stop > 0, real(limit)
    ny, nz = num_bricks(size[1]), num_bricks(size[2])
    passed, pending, count, end = one, zero, 0, num_samples
    for at in range(num_samples):
        n = real(at)
        x, y, z = x0 + n * dx, y0 + n * dy, z0 + n * dz
        i, j, k = int(x), int(y), int(z)
        if skips and bricks[uintp(((i >> BRICK_BITS) * ny + (j >> BRICK_BITS)) * nz + (k >> BRICK_BITS))] == 0:
            continue
        corners = read_corners(density, corner_places((i * size[1] + j) * size[2] + k, size, 1), 0)
        value = blend(real, corners, x - real(i), y - real(j), z - real(k))
        if skips and not value > least_value:
            continue
        stopped = min(value, one) if occupancy else one - vector_exp(-value * spacing)
        weight = passed * stopped
        index[count], opacity[count], light[count] = at, stopped, passed
        pending += weight
        if pending < least:
            read_weight[count] = real(UNREAD)
        else:
            read_weight[count] = pending
            pending = zero
        passed *= one - stopped
        count += 1
        if stops and passed <= last_light:
            end = at + 1
            break
    if pending > zero:
        read_weight[count - 1] = pending
    return count, end


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
        # All of them before any is stored, so that the compiler may read and compute them at once.
        one = weighted(read_corners(features, places, lane), weights)
        two = weighted(read_corners(features, places, lane + 1), weights)
        three = weighted(read_corners(features, places, lane + 2), weights)
        four = weighted(read_corners(features, places, lane + 3), weights)
        total[lane] += one
        total[lane + 1] += two
        total[lane + 2] += three
        total[lane + 3] += four


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
) -> None:
    """Tasks [first, end): a band of pixels each of ``seen`` [V, C, P], ``alpha`` and ``depth`` [V, P].

    Args:
        rays: [V, P, 9], see ``march``.
        density, features: [B, cells] and [B, cells * lanes], see ``cells``.
        occupied: bricks of each volume.
    """
    real = density.dtype.type
    index = np.empty(num_samples, np.int64)
    opacity, light, read_weight = np.empty(num_samples, real), np.empty(num_samples, real), np.empty(num_samples, real)
    total = np.empty(features.shape[1] // density.shape[1], real)
    pixels = rays.shape[1]
    for task in range(first, end):
        view, band = task // num_bands, task % num_bands
        volume = grid_of_view[view]
        cells, colors, bricks = density[volume], features[volume], occupied[volume]
        for pixel in range(band * pixels // num_bands, (band + 1) * pixels // num_bands):
            ray = rays[view, pixel]
            total[:] = real(0)
            covered, far = real(0), real(0)
            if stays_inside(real, ray, num_samples - 1, size):
                count, _ = march(
                    ray,
                    cells,
                    bricks,
                    size,
                    num_samples,
                    occupancy,
                    limit,
                    min_weight,
                    stop,
                    index,
                    opacity,
                    light,
                    read_weight,
                )
                for record in range(count):
                    weight = light[record] * opacity[record]
                    covered += weight
                    far += weight * (ray[7] + real(index[record]) * ray[8])
                    if read_weight[record] > real(0):
                        add_features(real, ray, index[record], colors, size, read_weight[record], total)
            alpha[view, pixel], depth[view, pixel] = covered, far
            for channel in range(seen.shape[1]):
                seen[view, channel, pixel] = total[channel]
