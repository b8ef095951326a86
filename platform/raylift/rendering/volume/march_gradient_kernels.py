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
from raylift.rendering.volume.lanes import pulled_blend, spread
from raylift.rendering.volume.march_kernels import close_records, composite


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def _pulled(
    features: np.ndarray, places: tuple[int, ...], fractions: tuple[float, float, float], pull: np.ndarray
) -> Any:
    """The features of a sample times ``pull`` [lanes], and the slopes of that by the fractions of its cell."""
    value, by_x, by_y, by_z = pulled_blend(features, 0, places, fractions, pull)
    for lane in range(LANES, pull.shape[0], LANES):
        more, more_x, more_y, more_z = pulled_blend(features, lane, places, fractions, pull)
        value, by_x, by_y, by_z = value + more, by_x + more_x, by_y + more_y, by_z + more_z
    return value, by_x, by_y, by_z


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
    passed = light[record] * (one - opacity[index[record]]) if record >= 0 else one
    cell, fx, fy, fz = locate(real, ray, index[record] if record >= 0 else num_samples // 2, size)
    color_pull, _, _, _ = _pulled(features, corner_places(cell, size, lanes), (fx, fy, fz), pull)
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
        stopped, passed = opacity[at], light[record]
        gx, gy, gz = zero, zero, zero
        if read_weight[record] >= zero:
            rows, weight = corner_places(cell, size, lanes), read_weight[record]
            color_pull, gx, gy, gz = _pulled(features, rows, (fx, fy, fz), pull)
            gx, gy, gz = weight * gx, weight * gy, weight * gz
            if with_features:
                weights = corner_weights(real, fx, fy, fz, weight)
                for lane in range(0, lanes, LANES):
                    spread(by_features, lane, rows, weights, pull)
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
    opacities: np.ndarray,
    size: tuple[int, int, int],
    num_samples: int,
    occupancy: bool,
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
        opacities: [V, P, N], as ``render_bands`` left them.
        by_seen, by_alpha, by_far: the gradients by what ``render_bands`` returns.
        by_density, by_features: zeros [B * parts, cells] and [B * parts, cells * lanes] (or nothing in it).
        by_rays: zeros [V, P, 9].
    """
    real = density.dtype.type
    channels, pixels = by_seen.shape[1], rays.shape[1]
    index, light, read_weight = (
        np.empty(num_samples, np.int64),
        np.empty(num_samples, real),
        np.empty(num_samples, real),
    )
    pull = np.zeros(features.shape[1] // density.shape[1], real)
    for task in range(first, end):
        volume, part = task // num_parts, task % num_parts
        cells, colors = density[volume], features[volume]
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
                opacity = opacities[view, pixel]
                state, end_sample = composite(
                    0, num_samples, opacity, min_weight, stop, (real(1), real(0), 0), index, light, read_weight
                )
                records = close_records(state, read_weight), min(end_sample, num_samples)
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
