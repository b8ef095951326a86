"""Compiled shading of face lists: coverage, softmax over depth and colours of a pixel in one pass, and its backward.

Nothing is stored per face and pixel: the backward pass computes it again. Gradients are summed in float64. A task is a
group of images or a band of rows of one image. Each task has its own gradient arrays, which are added in order, so the
result is bit-identical for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.share_kernels import FRAME, face_frames, pixel_shares


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy", inline="always")
def color_taps(
    real: Any,
    owner: int,
    measured: np.ndarray,
    k: int,
    is_texture: bool,
    corner_rows: np.ndarray,
    corner_uvs: np.ndarray,
    height: int,
    width: int,
    rows: np.ndarray,
    parts: np.ndarray,
) -> tuple[float, float, float, float]:
    """Find the rows of the values that a face's colour is interpolated from, and their weights.

    Args:
        rows, parts: output [4]: three corners and an unused entry, or the four texels around the point, clamped to the
            texture.

    Returns:
        For a texture: weight of the later row and column, and their derivatives by v and u.
    """
    zero, one = real(0), real(1)
    if not is_texture:
        for c in range(3):
            rows[c], parts[c] = corner_rows[owner, c], measured[k, c]
        rows[3], parts[3] = rows[0], zero
        return zero, zero, zero, zero
    c0, c1, c2 = measured[k, 0], measured[k, 1], measured[k, 2]
    u = c0 * corner_uvs[owner, 0, 0] + c1 * corner_uvs[owner, 1, 0] + c2 * corner_uvs[owner, 2, 0]
    v = c0 * corner_uvs[owner, 0, 1] + c1 * corner_uvs[owner, 1, 1] + c2 * corner_uvs[owner, 2, 1]
    x, y = u * real(width) - real(0.5), (one - v) * real(height) - real(0.5)
    slope_x, slope_y = real(width), -real(height)
    if not x > zero:
        x, slope_x = zero, zero
    if x >= real(width - 1):
        x, slope_x = real(width - 1), zero
    if not y > zero:
        y, slope_y = zero, zero
    if y >= real(height - 1):
        y, slope_y = real(height - 1), zero
    j, i = int(x), int(y)
    across, down = x - real(j), y - real(i)
    right, low = min(j + 1, width - 1), min(i + 1, height - 1)
    rows[0], rows[1], rows[2], rows[3] = i * width + j, i * width + right, low * width + j, low * width + right
    parts[0], parts[1] = (one - down) * (one - across), (one - down) * across
    parts[2], parts[3] = down * (one - across), down * across
    return down, across, slope_y, slope_x


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def shade(
    first: int,
    end: int,
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
    out: np.ndarray,
) -> None:
    """Run tasks [first, end): each fills one band of rows of ``out`` [B, C, H, W].

    Args:
        values: [T, N, C]: each of T sets serves B / T consecutive images.
    """
    real = screen.dtype.type
    num_images, size, _, faces_per_pixel = lists.shape
    num_channels = values.shape[2]
    centers = pixel_centers_1d(real, size, 0)
    frames = np.empty((faces.shape[0], FRAME), real)
    measured, covers, shares = (
        np.empty((faces_per_pixel, 8), real),
        np.empty(faces_per_pixel, real),
        np.empty(faces_per_pixel, real),
    )
    rows, parts, color = np.empty(4, np.int64), np.empty(4, real), np.empty(num_channels, real)
    for task in range(first, end):
        image, band = task // num_bands, task % num_bands
        texture = image * values.shape[0] // num_images
        face_frames(screen[image], faces, frames)
        for row in range(band * size // num_bands, (band + 1) * size // num_bands):
            for column in range(size):
                count = counts[image, row, column]
                if count == 0:
                    for channel in range(num_channels):
                        out[image, channel, row, column] = background[channel]
                    continue
                background_share, _, _ = pixel_shares(
                    real,
                    frames,
                    lists,
                    image,
                    row,
                    column,
                    count,
                    centers[column],
                    centers[row],
                    perspective,
                    soft,
                    measured,
                    covers,
                    shares,
                )
                for channel in range(num_channels):
                    color[channel] = background_share * background[channel]
                for k in range(count):
                    share = shares[k]
                    if share == real(0):
                        continue
                    color_taps(
                        real,
                        lists[image, row, column, k],
                        measured,
                        k,
                        is_texture,
                        corner_rows,
                        corner_uvs,
                        height,
                        width,
                        rows,
                        parts,
                    )
                    r0, r1, r2, r3 = rows[0], rows[1], rows[2], rows[3]
                    p0, p1, p2, p3 = share * parts[0], share * parts[1], share * parts[2], share * parts[3]
                    for channel in range(num_channels):
                        color[channel] += (
                            p0 * values[texture, r0, channel]
                            + p1 * values[texture, r1, channel]
                            + p2 * values[texture, r2, channel]
                            + p3 * values[texture, r3, channel]
                        )
                for channel in range(num_channels):
                    out[image, channel, row, column] = color[channel]
