"""Compiled forward pass of the ray-marcher: density first, features only where they count.

Volumes come padded by one cell of zeros on each side, so that no read needs to ask whether it is inside. A task is a
band of pixels of one view and writes to its own pixels only: results are the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.vector_exp import vector_exp

BRICK = 4
"""Edge of the bricks of cells that are skipped together, in cells."""
UNREAD = -1.0
"""Read weight of a sample whose features are not read."""


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def mark_bricks(first: int, end: int, density: np.ndarray, limit: float, occupied: np.ndarray) -> None:
    """Volumes [first, end): occupied [B, bricks of X, of Y, of Z] = 1 where a sample may read more than ``limit``.

    A sample in cell (i, j, k) reads cells i to i + 1 and so on; a brick holds the samples of BRICK^3 cells.
    """
    for volume in range(first, end):
        cells, bricks = density[volume], occupied[volume]
        bricks[:] = 0
        for i in range(cells.shape[0]):
            for j in range(cells.shape[1]):
                for k in range(cells.shape[2]):
                    if cells[i, j, k] > limit:
                        for bi in range(max(i - 1, 0) // BRICK, min(i // BRICK + 1, bricks.shape[0])):
                            for bj in range(max(j - 1, 0) // BRICK, min(j // BRICK + 1, bricks.shape[1])):
                                for bk in range(max(k - 1, 0) // BRICK, min(k // BRICK + 1, bricks.shape[2])):
                                    bricks[bi, bj, bk] = 1


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def read_density(real: Any, cells: np.ndarray, i: int, j: int, k: int, fx: float, fy: float, fz: float) -> float:
    """Trilinear value at a fraction (fx, fy, fz) of the way from cell (i, j, k) to the next ones."""
    gx, gy, gz = real(1) - fx, real(1) - fy, real(1) - fz
    low = gy * (gz * cells[i, j, k] + fz * cells[i, j, k + 1])
    low += fy * (gz * cells[i, j + 1, k] + fz * cells[i, j + 1, k + 1])
    high = gy * (gz * cells[i + 1, j, k] + fz * cells[i + 1, j, k + 1])
    high += fy * (gz * cells[i + 1, j + 1, k] + fz * cells[i + 1, j + 1, k + 1])
    return gx * low + fx * high


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def cell_of(place: float, size: int) -> int:
    """The cell before a padded coordinate; always one that has a next one."""
    return min(max(int(place), 0), size - 2)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def steps_to_leave(real: Any, place: float, step: float, cell: int) -> float:
    """Number of steps along one axis until a sample leaves its brick."""
    first = cell // BRICK * BRICK
    if step > real(0):
        return (real(first + BRICK) - place) / step
    if step < real(0):
        return (real(first) - place) / step
    return real(1e6)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def march(
    ray: np.ndarray,
    cells: np.ndarray,
    bricks: np.ndarray,
    num_samples: int,
    occupancy: bool,
    min_weight: float,
    stop: float,
    index: np.ndarray,
    opacity: np.ndarray,
    light: np.ndarray,
    read_weight: np.ndarray,
) -> tuple[int, int]:
    """Record the samples of one ray that stop light, front to back.

    A sample's features are not read as long as all the unread samples of the ray weigh less than ``min_weight``
    together; its weight is handed on to the next sample that is read, or else to the last record.

    Args:
        ray: start, step (padded cells), spacing, depth, depth step.
        cells: padded density.
        bricks: what may be skipped; with min_weight 0 nothing is.
        stop: transmittance that ends the march; with 0 nothing does: an opaque sample's gradient needs what it hides.
        index, opacity, light, read_weight: per record, the sample, a, the transmittance before it, and the weight that
            its features get or UNREAD; with room for all samples.

    Returns:
        number of records, and the sample that the march ended before.
    """
    real = cells.dtype.type
    zero, one, least, last_light = real(0), real(1), real(min_weight), real(stop)
    nx, ny, nz = cells.shape
    x0, y0, z0, dx, dy, dz, spacing = ray[0], ray[1], ray[2], ray[3], ray[4], ray[5], ray[6]
    skips, stops = min_weight > 0, stop > 0
    passed, pending, unread, count, i = one, zero, zero, 0, 0
    while i < num_samples:
        at = real(i)
        x, y, z = x0 + at * dx, y0 + at * dy, z0 + at * dz
        cx, cy, cz = cell_of(x, nx), cell_of(y, ny), cell_of(z, nz)
        if skips and bricks[cx // BRICK, cy // BRICK, cz // BRICK] == 0:
            jump = min(steps_to_leave(real, x, dx, cx), steps_to_leave(real, y, dy, cy))
            jump = min(jump, steps_to_leave(real, z, dz, cz))
            i += max(1, int(min(jump, real(num_samples))))
            continue
        value = read_density(real, cells, cx, cy, cz, x - real(cx), y - real(cy), z - real(cz))
        stopped = min(value, one) if occupancy else one - vector_exp(-value * spacing)
        if stopped > zero or not skips:
            weight = passed * stopped
            index[count], opacity[count], light[count] = i, stopped, passed
            pending += weight
            if unread + weight < least:
                unread += weight
                read_weight[count] = real(UNREAD)
            else:
                read_weight[count] = pending
                pending = zero
            passed *= one - stopped
            count += 1
            if passed <= last_light and stops:
                i += 1
                break
        i += 1
    if pending > zero:
        read_weight[count - 1] = pending
    return count, min(i, num_samples)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def add_features(real: Any, ray: np.ndarray, at: int, features: np.ndarray, weight: float, total: np.ndarray) -> None:
    """total [C] += weight * features at a sample of a ray."""
    nx, ny, nz, channels = features.shape
    x, y, z = ray[0] + real(at) * ray[3], ray[1] + real(at) * ray[4], ray[2] + real(at) * ray[5]
    i, j, k = cell_of(x, nx), cell_of(y, ny), cell_of(z, nz)
    fx, fy, fz = x - real(i), y - real(j), z - real(k)
    gx, gy, gz = weight * (real(1) - fx), real(1) - fy, real(1) - fz
    fx = weight * fx
    a, b, c, d = gx * gy * gz, gx * gy * fz, gx * fy * gz, gx * fy * fz
    e, f, g, h = fx * gy * gz, fx * gy * fz, fx * fy * gz, fx * fy * fz
    at_a, at_b, at_c, at_d = features[i, j, k], features[i, j, k + 1], features[i, j + 1, k], features[i, j + 1, k + 1]
    at_e, at_f = features[i + 1, j, k], features[i + 1, j, k + 1]
    at_g, at_h = features[i + 1, j + 1, k], features[i + 1, j + 1, k + 1]
    for channel in range(channels):
        value = a * at_a[channel] + b * at_b[channel] + c * at_c[channel] + d * at_d[channel]
        value += e * at_e[channel] + f * at_f[channel] + g * at_g[channel] + h * at_h[channel]
        total[channel] += value


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def render_bands(
    first: int,
    end: int,
    num_bands: int,
    rays: np.ndarray,
    grid_of_view: np.ndarray,
    density: np.ndarray,
    features: np.ndarray,
    occupied: np.ndarray,
    num_samples: int,
    occupancy: bool,
    min_weight: float,
    stop: float,
    seen: np.ndarray,
    alpha: np.ndarray,
    depth: np.ndarray,
) -> None:
    """Tasks [first, end): a band of pixels each of ``seen`` [V, C, P], ``alpha`` and ``depth`` [V, P].

    Args:
        rays: [V, P, 9], see ``march``.
        density: padded [B, X, Y, Z].
        features: padded [B, X, Y, Z, C].
    """
    real = density.dtype.type
    index = np.empty(num_samples, np.int64)
    opacity, light = np.empty(num_samples, real), np.empty(num_samples, real)
    read_weight, total = np.empty(num_samples, real), np.empty(features.shape[4], real)
    pixels = rays.shape[1]
    for task in range(first, end):
        view, band = task // num_bands, task % num_bands
        volume = grid_of_view[view]
        cells, colors, bricks = density[volume], features[volume], occupied[volume]
        for pixel in range(band * pixels // num_bands, (band + 1) * pixels // num_bands):
            ray = rays[view, pixel]
            total[:] = real(0)
            covered, far = real(0), real(0)
            if ray[6] > real(0):
                count, _ = march(
                    ray, cells, bricks, num_samples, occupancy, min_weight, stop, index, opacity, light, read_weight
                )
                for record in range(count):
                    weight = light[record] * opacity[record]
                    covered += weight
                    far += weight * (ray[7] + real(index[record]) * ray[8])
                    if read_weight[record] > real(0):
                        add_features(real, ray, index[record], colors, read_weight[record], total)
            alpha[view, pixel], depth[view, pixel] = covered, far
            for channel in range(total.shape[0]):
                seen[view, channel, pixel] = total[channel]
