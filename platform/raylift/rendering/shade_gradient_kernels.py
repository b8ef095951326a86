"""Compiled gradients of shaded face lists; see ``shade_kernels``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import segment_gradient
from raylift.rendering.shade_kernels import color_taps
from raylift.rendering.share_kernels import FRAME, face_frames, pixel_shares


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _add_weight_gradient(
    real: Any,
    frames: np.ndarray,
    f: int,
    faces: np.ndarray,
    px: float,
    py: float,
    perspective: bool,
    measured: np.ndarray,
    k: int,
    grad_depth: float,
    g0: float,
    g1: float,
    g2: float,
    vertices: np.ndarray,
    part: int,
) -> None:
    """Add the gradient through a face's clipped weights and depth to ``vertices``.

    Scaling all unclipped weights (edge function times depths) leaves clipped weights unchanged, so the area does not
    contribute.
    """
    zero = real(0)
    x0, y0, z0 = frames[f, 0], frames[f, 1], frames[f, 2]
    x1, y1, z1 = frames[f, 3], frames[f, 4], frames[f, 5]
    x2, y2, z2 = frames[f, 6], frames[f, 7], frames[f, 8]
    c0, c1, c2, inverse = measured[k, 0], measured[k, 1], measured[k, 2], measured[k, 3]
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    vertices[part, a, 2] += grad_depth * c0
    vertices[part, b, 2] += grad_depth * c1
    vertices[part, c, 2] += grad_depth * c2
    g0, g1, g2 = g0 + grad_depth * z0, g1 + grad_depth * z1, g2 + grad_depth * z2
    shared = c0 * g0 + c1 * g1 + c2 * g2
    sign = frames[f, 9]
    e0 = sign * ((px - x1) * (y2 - y1) - (py - y1) * (x2 - x1))
    e1 = sign * ((px - x2) * (y0 - y2) - (py - y2) * (x0 - x2))
    e2 = sign * ((px - x0) * (y1 - y0) - (py - y0) * (x1 - x0))
    # By the edge functions times their orientation; negative weights are clipped to 0.
    h0 = (g0 - shared) * inverse if e0 >= zero else zero
    h1 = (g1 - shared) * inverse if e1 >= zero else zero
    h2 = (g2 - shared) * inverse if e2 >= zero else zero
    if perspective:
        vertices[part, a, 2] += h1 * e1 * z2 + h2 * e2 * z1
        vertices[part, b, 2] += h0 * e0 * z2 + h2 * e2 * z0
        vertices[part, c, 2] += h0 * e0 * z1 + h1 * e1 * z0
        h0, h1, h2 = h0 * (z1 * z2), h1 * (z0 * z2), h2 * (z0 * z1)
    h0, h1, h2 = sign * h0, sign * h1, sign * h2
    vertices[part, a, 0] += h1 * (y2 - py) + h2 * (py - y1)
    vertices[part, a, 1] += h1 * (px - x2) + h2 * (x1 - px)
    vertices[part, b, 0] += h0 * (py - y2) + h2 * (y0 - py)
    vertices[part, b, 1] += h0 * (x2 - px) + h2 * (px - x0)
    vertices[part, c, 0] += h0 * (y1 - py) + h1 * (py - y0)
    vertices[part, c, 1] += h0 * (px - x1) + h1 * (x0 - px)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _add_distance_gradient(
    real: Any,
    frames: np.ndarray,
    f: int,
    faces: np.ndarray,
    px: float,
    py: float,
    grad_distance: float,
    edge: int,
    vertices: np.ndarray,
    part: int,
) -> None:
    """Add the gradient through the squared distance to the nearest edge (0: 01, 1: 02, 2: 12) to ``vertices``."""
    a, b = (1 if edge == 2 else 0), (1 if edge == 0 else 2)
    dxa, dya, dxb, dyb = segment_gradient(
        real, px, py, frames[f, 3 * a], frames[f, 3 * a + 1], frames[f, 3 * b], frames[f, 3 * b + 1]
    )
    vertices[part, faces[f, a], 0] += grad_distance * dxa
    vertices[part, faces[f, a], 1] += grad_distance * dya
    vertices[part, faces[f, b], 0] += grad_distance * dxb
    vertices[part, faces[f, b], 1] += grad_distance * dyb


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def shade_gradient(
    first: int,
    end: int,
    num_groups: int,
    num_bands: int,
    screen: np.ndarray,
    faces: np.ndarray,
    lists: np.ndarray,
    counts: np.ndarray,
    soft: np.ndarray,
    perspective: bool,
    is_texture: bool,
    corner_rows: np.ndarray,
    corner_uvs: np.ndarray,
    height: int,
    width: int,
    values: np.ndarray,
    background: np.ndarray,
    grad_image: np.ndarray,
    wants_screen: bool,
    wants_values: bool,
    grad_vertices: np.ndarray,
    grad_values: np.ndarray,
) -> None:
    """Run tasks [first, end): each computes the gradients of one group of images, or of one band of an image.

    The images that use one of the T sets of values form ``num_groups`` groups; each image has ``num_bands`` bands.

    Args:
        grad_image: gradient with respect to the image, [B, C, H, W].
        grad_vertices: float64 [B * bands, V, 3], initialised to 0.
        grad_values: float64 [T * groups * bands, N, C], initialised to 0.
    """
    real = screen.dtype.type
    zero, one = real(0), real(1)
    num_images, size, _, faces_per_pixel = lists.shape
    num_sets, _, num_channels = values.shape
    served = num_images // num_sets
    inverse_sigma, slope = soft[0], soft[1]
    centers = pixel_centers_1d(real, size, 0)
    frames = np.empty((faces.shape[0], FRAME), real)
    measured, covers, shares = (
        np.empty((faces_per_pixel, 8), real),
        np.empty(faces_per_pixel, real),
        np.empty(faces_per_pixel, real),
    )
    rows, parts, grad_pixel = np.empty(4, np.int64), np.empty(4, real), np.empty(num_channels, real)
    along, by_bary = np.empty(faces_per_pixel, real), np.empty((faces_per_pixel, 3), real)
    for task in range(first, end):
        section, band = task // num_bands, task % num_bands
        which, group = section // num_groups, section % num_groups
        first_image = which * served + group * served // num_groups
        end_image = which * served + (group + 1) * served // num_groups
        for image in range(first_image, end_image):
            face_frames(screen[image], faces, frames)
            part_of_image = image * num_bands + band
            for row in range(band * size // num_bands, (band + 1) * size // num_bands):
                py = centers[row]
                for column in range(size):
                    count = counts[image, row, column]
                    if count == 0:
                        continue
                    idle, background_gradient = True, zero
                    for channel in range(num_channels):
                        grad_pixel[channel] = grad_image[image, channel, row, column]
                        background_gradient += grad_pixel[channel] * background[channel]
                        idle = idle and grad_pixel[channel] == zero
                    if idle:
                        continue
                    px = centers[column]
                    background_share, background_score, nearest = pixel_shares(
                        real,
                        frames,
                        lists,
                        image,
                        row,
                        column,
                        count,
                        px,
                        py,
                        perspective,
                        soft,
                        measured,
                        covers,
                        shares,
                    )
                    mean = background_share * background_gradient
                    for k in range(count):
                        share, owner = shares[k], lists[image, row, column, k]
                        along[k] = by_bary[k, 0] = by_bary[k, 1] = by_bary[k, 2] = zero
                        if share == zero:
                            continue
                        down, across, slope_y, slope_x = color_taps(
                            real, owner, measured, k, is_texture, corner_rows, corner_uvs, height, width, rows, parts
                        )
                        r0, r1, r2, r3 = rows[0], rows[1], rows[2], rows[3]
                        p0, p1, p2, p3 = parts[0], parts[1], parts[2], parts[3]
                        d0, d1, d2, d3 = zero, zero, zero, zero
                        for channel in range(num_channels):
                            g = grad_pixel[channel]
                            d0 += g * values[which, r0, channel]
                            d1 += g * values[which, r1, channel]
                            d2 += g * values[which, r2, channel]
                            d3 += g * values[which, r3, channel]
                            if wants_values:
                                g *= share
                                grad_values[task, r0, channel] += g * p0
                                grad_values[task, r1, channel] += g * p1
                                grad_values[task, r2, channel] += g * p2
                                grad_values[task, r3, channel] += g * p3
                        along[k] = p0 * d0 + p1 * d1 + p2 * d2 + p3 * d3
                        mean += share * along[k]
                        if is_texture:
                            by_u = (one - down) * (d1 - d0) + down * (d3 - d2)
                            by_v = (one - across) * (d2 - d0) + across * (d3 - d1)
                            by_u, by_v = share * slope_x * by_u, share * slope_y * by_v
                            for c in range(3):
                                by_bary[k, c] = by_u * corner_uvs[owner, c, 0] + by_v * corner_uvs[owner, c, 1]
                        else:
                            by_bary[k, 0], by_bary[k, 1], by_bary[k, 2] = share * d0, share * d1, share * d2
                    if not wants_screen:
                        continue
                    # The background's exponential usually scales with the nearest depth like all others, which cancels.
                    # If it is clamped it does not scale, and the nearest face's depth changes all other shares.
                    by_nearest, ties = zero, 0
                    if background_score <= soft[3]:
                        for k in range(count):
                            by_nearest += shares[k] * (along[k] - mean)
                            ties += measured[k, 4] == nearest
                    for k in range(count):
                        leads = ties > 0 and measured[k, 4] == nearest
                        if shares[k] == zero and not leads:
                            continue
                        by_score = shares[k] * (along[k] - mean)
                        grad_depth = -slope * by_score
                        if leads:
                            grad_depth += slope * by_nearest / real(ties)
                        owner = lists[image, row, column, k]
                        _add_weight_gradient(
                            real,
                            frames,
                            owner,
                            faces,
                            px,
                            py,
                            perspective,
                            measured,
                            k,
                            grad_depth,
                            by_bary[k, 0],
                            by_bary[k, 1],
                            by_bary[k, 2],
                            grad_vertices,
                            part_of_image,
                        )
                        by_distance = -inverse_sigma * by_score * (one - covers[k])
                        if by_distance != zero:
                            if measured[k, 5] < zero:
                                by_distance = -by_distance
                            _add_distance_gradient(
                                real,
                                frames,
                                owner,
                                faces,
                                px,
                                py,
                                by_distance,
                                int(measured[k, 6]),
                                grad_vertices,
                                part_of_image,
                            )
