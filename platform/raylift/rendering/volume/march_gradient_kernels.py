"""Compiled backward pass of the ray-marcher.

With weights w_i = T_i a_i and the pull v_i = dL/dw_i of each sample, let R_i be the composite of what samples i and
beyond pull: R_i = a_i v_i + (1 - a_i) R_{i+1}. Then dL/da_i = T_i (v_i - R_{i+1}), without a division, also where a
sample stops all light.

A task is a part of the pixels of all views of one volume, and adds into a volume of its own; the parts are then added
in their order. Their number depends on the shapes alone, so that gradients are the same bits for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.volume.march_kernels import cell_of, march


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _place(real: Any, ray: np.ndarray, at: int) -> tuple[float, float, float]:
    return ray[0] + real(at) * ray[3], ray[1] + real(at) * ray[4], ray[2] + real(at) * ray[5]


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _corner_products(
    features: np.ndarray, i: int, j: int, k: int, pull: np.ndarray
) -> tuple[float, float, float, float, float, float, float, float]:
    """Products of ``pull`` [C] with the features of a cell's eight corners, the last axis changing fastest."""
    at_a, at_b, at_c, at_d = features[i, j, k], features[i, j, k + 1], features[i, j + 1, k], features[i, j + 1, k + 1]
    at_e, at_f = features[i + 1, j, k], features[i + 1, j, k + 1]
    at_g, at_h = features[i + 1, j + 1, k], features[i + 1, j + 1, k + 1]
    zero = pull[0] - pull[0]
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for channel in range(pull.shape[0]):
        p = pull[channel]
        a += p * at_a[channel]
        b += p * at_b[channel]
        c += p * at_c[channel]
        d += p * at_d[channel]
        e += p * at_e[channel]
        f += p * at_f[channel]
        g += p * at_g[channel]
        h += p * at_h[channel]
    return a, b, c, d, e, f, g, h


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _blend(
    real: Any,
    corners: tuple[float, float, float, float, float, float, float, float],
    fx: float,
    fy: float,
    fz: float,
) -> tuple[float, float, float, float]:
    """Trilinear value of eight corners, and its derivatives by (fx, fy, fz)."""
    a, b, c, d, e, f, g, h = corners
    gx, gy, gz = real(1) - fx, real(1) - fy, real(1) - fz
    ab, cd, ef, gh = gz * a + fz * b, gz * c + fz * d, gz * e + fz * f, gz * g + fz * h
    low, high = gy * ab + fy * cd, gy * ef + fy * gh
    by_z = gx * (gy * (b - a) + fy * (d - c)) + fx * (gy * (f - e) + fy * (h - g))
    return gx * low + fx * high, high - low, gx * (cd - ab) + fx * (gh - ef), by_z


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _add_density(
    real: Any, cells: np.ndarray, i: int, j: int, k: int, fx: float, fy: float, fz: float, pulled: float
) -> None:
    """Spread the gradient of a trilinear read over the eight cells."""
    gx, gy, gz = pulled * (real(1) - fx), real(1) - fy, real(1) - fz
    fx = pulled * fx
    a, b, c, d = gx * gy, gx * fy, fx * gy, fx * fy
    cells[i, j, k] += a * gz
    cells[i, j, k + 1] += a * fz
    cells[i, j + 1, k] += b * gz
    cells[i, j + 1, k + 1] += b * fz
    cells[i + 1, j, k] += c * gz
    cells[i + 1, j, k + 1] += c * fz
    cells[i + 1, j + 1, k] += d * gz
    cells[i + 1, j + 1, k + 1] += d * fz


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _add_features(
    real: Any, cells: np.ndarray, i: int, j: int, k: int, fx: float, fy: float, fz: float, weight: float, pull: Any
) -> None:
    """The same for features: ``weight`` * ``pull`` [C]."""
    gx, gy, gz = weight * (real(1) - fx), real(1) - fy, real(1) - fz
    fx = weight * fx
    a, b, c, d = gx * gy, gx * fy, fx * gy, fx * fy
    for row in range(4):
        di, dj = row // 2, row % 2
        share = (a if row == 0 else b) if row < 2 else (c if row == 2 else d)
        near, far = cells[i + di, j + dj, k], cells[i + di, j + dj, k + 1]
        at_near, at_far = share * gz, share * fz
        for channel in range(pull.shape[0]):
            near[channel] += at_near * pull[channel]
            far[channel] += at_far * pull[channel]


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _gradient_of_ray(
    ray: np.ndarray,
    cells: np.ndarray,
    colors: np.ndarray,
    num_samples: int,
    occupancy: bool,
    wanted: tuple[bool, bool],
    records: tuple[int, int],
    index: np.ndarray,
    opacity: np.ndarray,
    light: np.ndarray,
    read_weight: np.ndarray,
    pull: np.ndarray,
    pull_alpha: float,
    pull_depth: float,
    by_cells: np.ndarray,
    by_colors: np.ndarray,
    by_ray: np.ndarray,
) -> None:
    """Add one ray's gradient; samples without a record stop no light, but may be asked to.

    An unread sample has the pull of the features that its weight was handed on to: the gradient is that of the picture
    as it was rendered. Where no features were read behind a sample, those of the last record count, and on a ray
    without records those of its middle.
    """
    real = cells.dtype.type
    zero, one = real(0), real(1)
    nx, ny, nz = cells.shape
    with_features, with_rays = wanted
    spacing, record, end = ray[6], records[0] - 1, records[1]
    passed = light[record] * (one - opacity[record]) if record >= 0 else one
    x, y, z = _place(real, ray, index[record] if record >= 0 else num_samples // 2)
    i, j, k = cell_of(x, nx), cell_of(y, ny), cell_of(z, nz)
    products = _corner_products(colors, i, j, k, pull)
    color_pull = _blend(real, products, x - real(i), y - real(j), z - real(k))[0]
    tail = zero
    sx, sy, sz, ix, iy, iz, by_spacing, by_depth, by_depth_step = zero, zero, zero, zero, zero, zero, zero, zero, zero
    for at in range(end - 1, -1, -1):
        n = real(at)
        x, y, z = _place(real, ray, at)
        i, j, k = cell_of(x, nx), cell_of(y, ny), cell_of(z, nz)
        fx, fy, fz = x - real(i), y - real(j), z - real(k)
        lit = record >= 0 and index[record] == at
        stopped, gx, gy, gz = zero, zero, zero, zero
        if lit:
            stopped, passed = opacity[record], light[record]
            if read_weight[record] >= zero:
                products = _corner_products(colors, i, j, k, pull)
                color_pull, gx, gy, gz = _blend(real, products, fx, fy, fz)
                weight = read_weight[record]
                gx, gy, gz = weight * gx, weight * gy, weight * gz
                if with_features:
                    _add_features(real, by_colors, i, j, k, fx, fy, fz, weight, pull)
            record -= 1
        far = ray[7] + n * ray[8]
        value = pull_alpha + pull_depth * far + color_pull
        pulled = passed * (value - tail)
        tail = stopped * value + (one - stopped) * tail
        if not occupancy:
            pulled *= one - stopped
        by_cell = pulled if occupancy else pulled * spacing
        _add_density(real, by_cells, i, j, k, fx, fy, fz, by_cell)
        if with_rays and lit:
            corners = (
                cells[i, j, k],
                cells[i, j, k + 1],
                cells[i, j + 1, k],
                cells[i, j + 1, k + 1],
                cells[i + 1, j, k],
                cells[i + 1, j, k + 1],
                cells[i + 1, j + 1, k],
                cells[i + 1, j + 1, k + 1],
            )
            density, hx, hy, hz = _blend(real, corners, fx, fy, fz)
            gx, gy, gz = gx + by_cell * hx, gy + by_cell * hy, gz + by_cell * hz
            sx, sy, sz = sx + gx, sy + gy, sz + gz
            ix, iy, iz = ix + n * gx, iy + n * gy, iz + n * gz
            by_spacing += zero if occupancy else pulled * density
            by_far = passed * stopped * pull_depth
            by_depth += by_far
            by_depth_step += n * by_far
    if with_rays:
        by_ray[0], by_ray[1], by_ray[2], by_ray[3], by_ray[4], by_ray[5] = sx, sy, sz, ix, iy, iz
        by_ray[6], by_ray[7], by_ray[8] = by_spacing, by_depth, by_depth_step


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def gradient_parts(
    first: int,
    end: int,
    num_parts: int,
    rays: np.ndarray,
    views: np.ndarray,
    view_ends: np.ndarray,
    density: np.ndarray,
    features: np.ndarray,
    occupied: np.ndarray,
    num_samples: int,
    occupancy: bool,
    min_weight: float,
    stop: float,
    wanted: tuple[bool, bool],
    pulls: np.ndarray,
    by_density: np.ndarray,
    by_features: np.ndarray,
    by_rays: np.ndarray,
) -> None:
    """Tasks [first, end): part ``task % num_parts`` of the pixels of all views of volume ``task // num_parts``.

    Args:
        views: views in the order of their volumes; those of volume b end before ``view_ends[b]``.
        wanted: whether gradients by features and by rays are asked for.
        pulls: [V, P, C + 2], the gradient by each pixel's features, alpha and depth.
        by_density, by_features: zeros [B, parts, X, Y, Z] and [B, parts, X, Y, Z, C] (or no cells), padded.
        by_rays: zeros [V, P, 9].
    """
    real = density.dtype.type
    channels, pixels = features.shape[4], rays.shape[1]
    index = np.empty(num_samples, np.int64)
    opacity, light, read_weight = np.empty(num_samples, real), np.empty(num_samples, real), np.empty(num_samples, real)
    for task in range(first, end):
        volume, part = task // num_parts, task % num_parts
        cells, colors, bricks = density[volume], features[volume], occupied[volume]
        by_cells, by_colors = by_density[volume, part], by_features[volume, part]
        for place in range(view_ends[volume - 1] if volume else 0, view_ends[volume]):
            view = views[place]
            for pixel in range(part * pixels // num_parts, (part + 1) * pixels // num_parts):
                ray, pull = rays[view, pixel], pulls[view, pixel]
                if not ray[6] > real(0) or not np.any(pull):
                    continue
                records = march(
                    ray, cells, bricks, num_samples, occupancy, min_weight, stop, index, opacity, light, read_weight
                )
                _gradient_of_ray(
                    ray,
                    cells,
                    colors,
                    num_samples,
                    occupancy,
                    wanted,
                    records,
                    index,
                    opacity,
                    light,
                    read_weight,
                    pull[:channels],
                    pull[channels],
                    pull[channels + 1],
                    by_cells,
                    by_colors,
                    by_rays[view, pixel],
                )
