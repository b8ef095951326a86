"""Compiled shares of a pixel's colour: coverage by each listed face, and SoftRas's softmax over depth, in one pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import EPSILON, LEAST_WEIGHT, edge_function

LEAST_SHARE = 1e-20
"""Faces with a smaller share of a pixel's colour are omitted: arithmetic on near-denormal numbers is slow."""
FRAME = 16
"""Number of values per face in ``face_frames``."""


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _inverse_square(real: Any, dx: float, dy: float) -> float:
    square = dx * dx + dy * dy
    return real(1) / square if square > EPSILON else real(0)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def face_frames(screen: np.ndarray, faces: np.ndarray, frames: np.ndarray) -> None:
    """Fill ``frames``: each face's corners, orientation, inverse squared edge lengths (0: a point), least divisor."""
    real = screen.dtype.type
    for f in range(faces.shape[0]):
        frame = frames[f]
        for c in range(3):
            for axis in range(3):
                frame[3 * c + axis] = screen[faces[f, c], axis]
        x0, y0, x1, y1, x2, y2 = frame[0], frame[1], frame[3], frame[4], frame[6], frame[7]
        area = real(edge_function(x2, y2, x0, y0, x1, y1) + EPSILON)
        frame[9] = real(1) if area > real(0) else real(-1)
        frame[10] = _inverse_square(real, x1 - x0, y1 - y0)
        frame[11] = _inverse_square(real, x2 - x0, y2 - y0)
        frame[12] = _inverse_square(real, x2 - x1, y2 - y1)
        frame[13] = real(EPSILON) * abs(area)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy", inline="always")
def _share_along(real: Any, qx: float, qy: float, dx: float, dy: float, inverse: float) -> float:
    """Position of a point's foot on an edge, from 0 to 1; 1 if the edge is a point."""
    if inverse == real(0):
        return real(1)
    return min(max((qx * dx + qy * dy) * inverse, real(0)), real(1))


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy", inline="always")
def _square_distance(qx: float, qy: float, dx: float, dy: float, along: float) -> float:
    x, y = qx - along * dx, qy - along * dy
    return x * x + y * y


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _measure(
    real: Any, frames: np.ndarray, f: int, px: float, py: float, perspective: bool, measured: np.ndarray, k: int
) -> None:
    """Measure a face at a pixel, as PyTorch3D does except for rounding.

    Args:
        measured: output [K, 8]; row k gets the corners' clipped weights, 1 / their divisor, depth, signed squared
            distance, and the index of the nearest edge (0: 01, 1: 02, 2: 12).
    """
    zero = real(0)
    x0, y0, z0 = frames[f, 0], frames[f, 1], frames[f, 2]
    x1, y1, z1 = frames[f, 3], frames[f, 4], frames[f, 5]
    x2, y2, z2 = frames[f, 6], frames[f, 7], frames[f, 8]
    qx0, qy0, qx1, qy1, qx2, qy2 = px - x0, py - y0, px - x1, py - y1, px - x2, py - y2
    dx01, dy01, dx02, dy02, dx12, dy12 = x1 - x0, y1 - y0, x2 - x0, y2 - y0, x2 - x1, y2 - y1
    sign = frames[f, 9]
    # Weights times the doubled area; clipping divides by their sum, so the area cancels.
    t0 = sign * (qx1 * dy12 - qy1 * dx12)
    t1 = sign * (qy2 * dx02 - qx2 * dy02)
    t2 = sign * (qx0 * dy01 - qy0 * dx01)
    least = zero
    if perspective:
        t0, t1, t2 = t0 * (z1 * z2), t1 * (z0 * z2), t2 * (z0 * z1)
        # Beyond the horizon of the face's plane PyTorch3D clamps the divisor.
        least = real(LEAST_WEIGHT) * max(t0 + t1 + t2, frames[f, 13])
    c0, c1, c2 = max(t0, zero), max(t1, zero), max(t2, zero)
    inverse = real(1) / max(c0 + c1 + c2, least, real(1e-30))
    c0, c1, c2 = c0 * inverse, c1 * inverse, c2 * inverse
    d01 = _square_distance(qx0, qy0, dx01, dy01, _share_along(real, qx0, qy0, dx01, dy01, frames[f, 10]))
    d02 = _square_distance(qx0, qy0, dx02, dy02, _share_along(real, qx0, qy0, dx02, dy02, frames[f, 11]))
    d12 = _square_distance(qx1, qy1, dx12, dy12, _share_along(real, qx1, qy1, dx12, dy12, frames[f, 12]))
    distance = min(d01, d02, d12)
    # The first of equals.
    measured[k, 6] = zero if d01 == distance else (real(1) if d02 == distance else real(2))
    if t0 > zero and t1 > zero and t2 > zero:
        distance = -distance
    measured[k, 0], measured[k, 1], measured[k, 2], measured[k, 3] = c0, c1, c2, inverse
    measured[k, 4] = c0 * z0 + c1 * z1 + c2 * z2
    measured[k, 5] = distance


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def pixel_shares(
    real: Any,
    frames: np.ndarray,
    lists: np.ndarray,
    image: int,
    row: int,
    column: int,
    count: int,
    px: float,
    py: float,
    perspective: bool,
    soft: np.ndarray,
    measured: np.ndarray,
    covers: np.ndarray,
    shares: np.ndarray,
) -> tuple[float, float, float]:
    """SoftRas's softmax at a pixel; equals ``blend_weights``.

    Args:
        soft: 1 / sigma, 1 / (gamma (far - near)), far, background_eps, and 1 / gamma.
        measured: output [K, 8]; ``covers`` and ``shares``: output [K]. The first ``count`` rows are filled.

    Returns:
        Share of the background, its exponential before normalisation, and the nearest depth.
    """
    one = real(1)
    inverse_sigma, slope, far, eps = soft[0], soft[1], soft[2], soft[3]
    # The depth of the background: (far - z) / (far - near) = eps.
    nearest = far - eps * soft[4] / slope
    for k in range(count):
        _measure(real, frames, lists[image, row, column, k], px, py, perspective, measured, k)
        nearest = min(nearest, measured[k, 4])
    background_score = max(real(math.exp((nearest - far) * slope + eps * soft[4])), eps)
    total = background_score
    for k in range(count):
        covers[k] = one / (one + real(math.exp(measured[k, 5] * inverse_sigma)))
        score = covers[k] * real(math.exp((nearest - measured[k, 4]) * slope))
        shares[k] = score if score > LEAST_SHARE * background_score else real(0)
        total += shares[k]
    inverse = one / total
    for k in range(count):
        shares[k] *= inverse
    return background_score * inverse, background_score, nearest


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def sum_shares(
    first: int,
    end: int,
    screen: np.ndarray,
    faces: np.ndarray,
    lists: np.ndarray,
    counts: np.ndarray,
    soft: np.ndarray,
    perspective: bool,
    nearest_faces: int,
    sums: np.ndarray,
) -> None:
    """Fill ``sums`` float64 [B, F, 3] of images [first, end): sums of each face's shares, and of shares times u and v.

    Args:
        nearest_faces: number of faces per pixel that count, nearest first.
    """
    real = screen.dtype.type
    _, size, _, faces_per_pixel = lists.shape
    centers = pixel_centers_1d(real, size, 0)
    frames = np.empty((faces.shape[0], FRAME), real)
    measured, covers, shares = (
        np.empty((faces_per_pixel, 8), real),
        np.empty(faces_per_pixel, real),
        np.empty(faces_per_pixel, real),
    )
    for image in range(first, end):
        face_frames(screen[image], faces, frames)
        sums[image] = 0.0
        for row in range(size):
            for column in range(size):
                count = counts[image, row, column]
                if count == 0:
                    continue
                px, py = centers[column], centers[row]
                pixel_shares(
                    real, frames, lists, image, row, column, count, px, py, perspective, soft, measured, covers, shares
                )
                for k in range(min(count, nearest_faces)):
                    f = lists[image, row, column, k]
                    sums[image, f, 0] += shares[k]
                    sums[image, f, 1] += shares[k] * px
                    sums[image, f, 2] += shares[k] * py
