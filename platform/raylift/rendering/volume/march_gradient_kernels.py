"""Compiled backward pass of the ray-marcher.

With weights w_i = T_i a_i and the pull v_i = dL/dw_i of each sample, let R_i be the composite of what samples i and
beyond pull: R_i = a_i v_i + (1 - a_i) R_{i+1}. Then dL/da_i = T_i (v_i - R_{i+1}), without a division, also where a
sample stops all light.

A task is a part of the pixels of all views of one volume, and adds into a volume of its own; the parts are then added
in their order. Their number depends on the shapes alone, so that gradients are the same bits for any number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uintp

from raylift.rendering.volume.cells import (
    LANES,
    Corners,
    blend,
    corner_places,
    corner_weights,
    locate,
    read_corners,
    slopes,
    stays_inside,
)
from raylift.rendering.volume.march_kernels import march


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _products(features: np.ndarray, places: tuple[int, ...], pull: np.ndarray) -> Corners:
    """Products of ``pull`` [lanes] with the features of a cell's eight corners."""
    zero = pull[0] - pull[0]
    a, b, c, d, e, f, g, h = zero, zero, zero, zero, zero, zero, zero, zero
    for lane in range(pull.shape[0]):
        p, corners = pull[lane], read_corners(features, places, lane)
        a += p * corners[0]
        b += p * corners[1]
        c += p * corners[2]
        d += p * corners[3]
        e += p * corners[4]
        f += p * corners[5]
        g += p * corners[6]
        h += p * corners[7]
    return a, b, c, d, e, f, g, h


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _add_density(by_density: np.ndarray, places: tuple[int, ...], weights: Corners) -> None:
    """Spread the gradient of a trilinear read over the eight cells."""
    by_density[places[0]] += weights[0]
    by_density[places[1]] += weights[1]
    by_density[places[2]] += weights[2]
    by_density[places[3]] += weights[3]
    by_density[places[4]] += weights[4]
    by_density[places[5]] += weights[5]
    by_density[places[6]] += weights[6]
    by_density[places[7]] += weights[7]


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _add_lanes(by_features: np.ndarray, place: int, weight: float, pull: np.ndarray) -> None:
    """Features of one corner += weight * pull."""
    for lane in range(0, pull.shape[0], LANES):
        o = place + uintp(lane)
        one = by_features[o] + weight * pull[lane]
        two = by_features[o + uintp(1)] + weight * pull[lane + 1]
        three = by_features[o + uintp(2)] + weight * pull[lane + 2]
        four = by_features[o + uintp(3)] + weight * pull[lane + 3]
        by_features[o] = one
        by_features[o + uintp(1)] = two
        by_features[o + uintp(2)] = three
        by_features[o + uintp(3)] = four


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _add_features(by_features: np.ndarray, places: tuple[int, ...], weights: Corners, pull: np.ndarray) -> None:
    """The same for features: ``pull`` [lanes] times each corner's weight."""
    _add_lanes(by_features, places[0], weights[0], pull)
    _add_lanes(by_features, places[1], weights[1], pull)
    _add_lanes(by_features, places[2], weights[2], pull)
    _add_lanes(by_features, places[3], weights[3], pull)
    _add_lanes(by_features, places[4], weights[4], pull)
    _add_lanes(by_features, places[5], weights[5], pull)
    _add_lanes(by_features, places[6], weights[6], pull)
    _add_lanes(by_features, places[7], weights[7], pull)


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _gradient_of_ray(
    ray: np.ndarray,
    density: np.ndarray,
    features: np.ndarray,
    size: tuple[int, int, int],
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
    by_density: np.ndarray,
    by_features: np.ndarray,
    by_ray: np.ndarray,
) -> None:
    """Add one ray's gradient; samples without a record stop (almost) no light, but may be asked to.

    An unread sample has the pull of the features that its weight was handed on to: the gradient is that of the picture
    as it was rendered. Where no features were read behind a sample, those of the last record count, and on a ray
    without records those of its middle.
    """
    real = density.dtype.type
    zero, one = real(0), real(1)
    with_features, with_rays = wanted
    spacing, record, end, lanes = ray[6], records[0] - 1, records[1], pull.shape[0]
    passed = light[record] * (one - opacity[record]) if record >= 0 else one
    cell, fx, fy, fz = locate(real, ray, index[record] if record >= 0 else num_samples // 2, size)
    color_pull = blend(real, _products(features, corner_places(cell, size, lanes), pull), fx, fy, fz)
    tail = zero
    sx, sy, sz, ix, iy, iz, by_spacing, by_depth, by_depth_step = zero, zero, zero, zero, zero, zero, zero, zero, zero
    for at in range(end - 1, -1, -1):
        n = real(at)
        cell, fx, fy, fz = locate(real, ray, at, size)
        places = corner_places(cell, size, 1)
        far = pull_alpha + pull_depth * (ray[7] + n * ray[8])
        if record < 0 or index[record] != at:
            pulled = passed * (far + color_pull - tail)
            _add_density(
                by_density, places, corner_weights(real, fx, fy, fz, pulled if occupancy else pulled * spacing)
            )
            continue
        stopped, passed = opacity[record], light[record]
        gx, gy, gz = zero, zero, zero
        if read_weight[record] >= zero:
            rows, weight = corner_places(cell, size, lanes), read_weight[record]
            products = _products(features, rows, pull)
            color_pull = blend(real, products, fx, fy, fz)
            if with_features:
                _add_features(by_features, rows, corner_weights(real, fx, fy, fz, weight), pull)
            if with_rays:
                gx, gy, gz = slopes(real, products, fx, fy, fz)
                gx, gy, gz = weight * gx, weight * gy, weight * gz
        value = far + color_pull
        pulled = passed * (value - tail)
        tail = stopped * value + (one - stopped) * tail
        if not occupancy:
            pulled *= one - stopped
        by_cell = pulled if occupancy else pulled * spacing
        _add_density(by_density, places, corner_weights(real, fx, fy, fz, by_cell))
        if with_rays:
            corners = read_corners(density, places, 0)
            hx, hy, hz = slopes(real, corners, fx, fy, fz)
            gx, gy, gz = gx + by_cell * hx, gy + by_cell * hy, gz + by_cell * hz
            sx, sy, sz = sx + gx, sy + gy, sz + gz
            ix, iy, iz = ix + n * gx, iy + n * gy, iz + n * gz
            if not occupancy:
                by_spacing += pulled * blend(real, corners, fx, fy, fz)
            by_far = passed * stopped * pull_depth
            by_depth += by_far
            by_depth_step += n * by_far
        record -= 1
    if with_rays:
        by_ray[0], by_ray[1], by_ray[2], by_ray[3], by_ray[4], by_ray[5] = sx, sy, sz, ix, iy, iz
        by_ray[6], by_ray[7], by_ray[8] = by_spacing, by_depth, by_depth_step


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
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
    size: tuple[int, int, int],
    num_samples: int,
    occupancy: bool,
    limit: float,
    min_weight: float,
    stop: float,
    wanted: tuple[bool, bool],
    by_seen: np.ndarray,
    by_alpha: np.ndarray,
    by_far: np.ndarray,
    by_density: np.ndarray,
    by_features: np.ndarray,
    by_rays: np.ndarray,
) -> None:
    """Tasks [first, end): part ``task % num_parts`` of the pixels of all views of volume ``task // num_parts``.

    Args:
        views: views in the order of their volumes; those of volume b end before ``view_ends[b]``.
        wanted: whether gradients by features and by rays are asked for.
        by_seen, by_alpha, by_far: the gradients by what ``render_bands`` returns.
        by_density, by_features: zeros [B * parts, cells] and [B * parts, cells * lanes] (or nothing in it).
        by_rays: zeros [V, P, 9].
    """
    real = density.dtype.type
    channels, pixels = by_seen.shape[1], rays.shape[1]
    index = np.empty(num_samples, np.int64)
    opacity, light, read_weight = np.empty(num_samples, real), np.empty(num_samples, real), np.empty(num_samples, real)
    pull = np.zeros(features.shape[1] // density.shape[1], real)
    for task in range(first, end):
        volume, part = task // num_parts, task % num_parts
        cells, colors, bricks = density[volume], features[volume], occupied[volume]
        for place in range(view_ends[volume - 1] if volume else 0, view_ends[volume]):
            view = views[place]
            for pixel in range(part * pixels // num_parts, (part + 1) * pixels // num_parts):
                ray = rays[view, pixel]
                if not stays_inside(real, ray, num_samples - 1, size):
                    continue
                asked = by_alpha[view, pixel] != real(0) or by_far[view, pixel] != real(0)
                for channel in range(channels):
                    pull[channel] = by_seen[view, channel, pixel]
                    asked = asked or pull[channel] != real(0)
                if not asked:
                    continue
                records = march(
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
                _gradient_of_ray(
                    ray,
                    cells,
                    colors,
                    size,
                    num_samples,
                    occupancy,
                    wanted,
                    records,
                    index,
                    opacity,
                    light,
                    read_weight,
                    pull,
                    by_alpha[view, pixel],
                    by_far[view, pixel],
                    by_density[task],
                    by_features[task],
                    by_rays[view, pixel],
                )
