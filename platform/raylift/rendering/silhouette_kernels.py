"""Compiled kernels of the fused soft silhouette: transmittance of each pixel, and the backward pass.

A forward task is a band of rows: it multiplies all faces, in order, into its own pixels. A backward task is a run of
faces: it sums over each face's box of pixels. No two tasks write to the same memory, so the result is bit-identical for
any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import EPSILON, edge_function, segment_gradient, triangle_distance
from raylift.rendering.vector_exp import vector_exp

RUN_FACES = 64
"""Number of faces per task in the backward pass."""
BLOCK = 8
"""Number of pixels per vectorised block."""
CHUNK = 16
"""Number of pixels of a row per call of ``_gradient_row``; a multiple of BLOCK."""
SUMMED_ROWS = 8
"""Number of rows whose gradients are added in the arrays' own precision before the sum goes to float64."""
LEAST_LIGHT = 1e-30
"""Least transmittance of a pixel: arithmetic on near-denormal numbers is slow."""
EXACT_RATIO = 0.02
"""Faces of at most this height over length are measured as PyTorch3D does, operation by operation: of two edges that
all but coincide, rounding decides which is nearer, and the gradient follows."""


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _edge_frame(real: Any, ax: float, ay: float, bx: float, by: float) -> tuple[float, float, float]:
    """Unit vector along an edge, and its length; all 0 if PyTorch3D treats the edge as a point."""
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    if square <= EPSILON:
        return real(0), real(0), real(0)
    length = real(math.sqrt(square))
    inverse = real(1) / length
    return dx * inverse, dy * inverse, length


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _face_frame(real: Any, screen: np.ndarray, face: np.ndarray, frame: np.ndarray) -> bool:
    """Fill ``frame``: a face's corners, edges (01, 02, 12), orientation. Returns whether it needs exact arithmetic."""
    for c in range(3):
        frame[2 * c], frame[2 * c + 1] = screen[face[c], 0], screen[face[c], 1]
    x0, y0, x1, y1, x2, y2 = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    area = edge_function(x2, y2, x0, y0, x1, y1)
    frame[6], frame[7], frame[8] = _edge_frame(real, x0, y0, x1, y1)
    frame[9], frame[10], frame[11] = _edge_frame(real, x0, y0, x2, y2)
    frame[12], frame[13], frame[14] = _edge_frame(real, x1, y1, x2, y2)
    frame[15] = real(1) if area > real(0) else real(-1)
    shortest, longest = min(frame[8], frame[11], frame[14]), max(frame[8], frame[11], frame[14])
    return not abs(area) > EXACT_RATIO * longest * longest or shortest == real(0)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _multiply_row(
    real: Any,
    frame: np.ndarray,
    centers: np.ndarray,
    py: float,
    num_blocks: int,
    inverse_sigma: float,
    blur: float,
    line: np.ndarray,
) -> None:
    """Multiply ``line`` by a face's 1 - sigmoid(-d / sigma), over whole blocks of pixels, for vectorisation.

    Args:
        centers, line: starting at the face's first column, padded for the last block.
    """
    x0, y0, x1, y1 = frame[0], frame[1], frame[2], frame[3]
    dx01, dy01, length01 = frame[6], frame[7], frame[8]
    dx02, dy02, length02 = frame[9], frame[10], frame[11]
    dx12, dy12, length12 = frame[12], frame[13], frame[14]
    sign, zero, one, least_light = frame[15], real(0), real(1), real(LEAST_LIGHT)
    qy0, qy1 = py - y0, py - y1
    for lane in range(num_blocks * BLOCK):
        px = centers[lane]
        qx0, qx1 = px - x0, px - x1
        # Distance off each edge's line, positive towards the inside; distance along the line beyond either end.
        off01 = sign * (qx0 * dy01 - qy0 * dx01)
        off02 = sign * (qy0 * dx02 - qx0 * dy02)
        off12 = sign * (qx1 * dy12 - qy1 * dx12)
        along01, along02, along12 = qx0 * dx01 + qy0 * dy01, qx0 * dx02 + qy0 * dy02, qx1 * dx12 + qy1 * dy12
        beyond01 = along01 - min(max(along01, zero), length01)
        beyond02 = along02 - min(max(along02, zero), length02)
        beyond12 = along12 - min(max(along12, zero), length12)
        least = min(
            off01 * off01 + beyond01 * beyond01,
            off02 * off02 + beyond02 * beyond02,
            off12 * off12 + beyond12 * beyond12,
        )
        distance = -least if min(off01, off02, off12) > zero else least
        passed = one / (one + vector_exp(-distance * inverse_sigma))
        line[lane] = max(line[lane] * passed, least_light) if distance < blur else line[lane]


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _gradient_row(
    real: Any,
    frame: np.ndarray,
    centers: np.ndarray,
    py: float,
    num_blocks: int,
    inverse_sigma: float,
    blur: float,
    grad_transmittance: np.ndarray,
    parts: np.ndarray,
) -> None:
    """Add the gradient by (u, v) of a face's three corners to ``parts`` [6 * CHUNK], one entry per column.

    The loop runs over whole blocks of pixels, at most CHUNK pixels, and is vectorised. ``parts`` is one array with
    fixed offsets, so that the compiler knows that the parts do not overlap.

    Args:
        centers, grad_transmittance: starting at the first column; ``grad_transmittance`` is padded for the last block.
    """
    x0, y0, x1, y1 = frame[0], frame[1], frame[2], frame[3]
    dx01, dy01, length01 = frame[6], frame[7], frame[8]
    dx02, dy02, length02 = frame[9], frame[10], frame[11]
    dx12, dy12, length12 = frame[12], frame[13], frame[14]
    sign, zero, one = frame[15], real(0), real(1)
    inverse01, inverse02, inverse12 = one / length01, one / length02, one / length12
    qy0, qy1 = py - y0, py - y1
    scale = (one + one) * inverse_sigma
    for lane in range(num_blocks * BLOCK):
        px, grad_pixel = centers[lane], grad_transmittance[lane]
        qx0, qx1 = px - x0, px - x1
        off01 = sign * (qx0 * dy01 - qy0 * dx01)
        off02 = sign * (qy0 * dx02 - qx0 * dy02)
        off12 = sign * (qx1 * dy12 - qy1 * dx12)
        along01, along02, along12 = qx0 * dx01 + qy0 * dy01, qx0 * dx02 + qy0 * dy02, qx1 * dx12 + qy1 * dy12
        held01 = min(max(along01, zero), length01)
        held02 = min(max(along02, zero), length02)
        held12 = min(max(along12, zero), length12)
        beyond01, beyond02, beyond12 = along01 - held01, along02 - held02, along12 - held12
        d01 = off01 * off01 + beyond01 * beyond01
        d02 = off02 * off02 + beyond02 * beyond02
        d12 = off12 * off12 + beyond12 * beyond12
        least = min(d01, d02, d12)
        inside = min(off01, off02, off12) > zero
        distance = -least if inside else least
        grad_pixel = grad_pixel if distance < blur else zero
        # d coverage / d dists = -T p / sigma; the derivative of a squared distance is 2 (foot - p).
        slope = scale * grad_pixel / (one + vector_exp(distance * inverse_sigma))
        slope = slope if inside else -slope
        of01 = slope if d01 == least else zero
        of02 = slope - of01 if d02 == least else zero
        of12 = slope - of01 - of02
        share01, share02, share12 = held01 * inverse01, held02 * inverse02, held12 * inverse12
        x01, y01 = (held01 * dx01 - qx0) * of01, (held01 * dy01 - qy0) * of01
        x02, y02 = (held02 * dx02 - qx0) * of02, (held02 * dy02 - qy0) * of02
        x12, y12 = (held12 * dx12 - qx1) * of12, (held12 * dy12 - qy1) * of12
        parts[lane] += (one - share01) * x01 + (one - share02) * x02
        parts[1 * CHUNK + lane] += (one - share01) * y01 + (one - share02) * y02
        parts[2 * CHUNK + lane] += share01 * x01 + (one - share12) * x12
        parts[3 * CHUNK + lane] += share01 * y01 + (one - share12) * y12
        parts[4 * CHUNK + lane] += share02 * x02 + share12 * x12
        parts[5 * CHUNK + lane] += share02 * y02 + share12 * y12


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _exact_row_distances(
    real: Any,
    frame: np.ndarray,
    centers: np.ndarray,
    py: float,
    first: int,
    end: int,
    distances: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """Fill a face's PyTorch3D ``dists`` and nearest edge (0: 01, 1: 02, 2: 12) at columns [first, end) of a row."""
    x0, y0, x1, y1, x2, y2 = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    sign, zero = frame[15], real(0)
    for column in range(first, end):
        px = centers[column]
        distance, edge = triangle_distance(real, px, py, x0, y0, x1, y1, x2, y2)
        inside = (
            sign * edge_function(px, py, x1, y1, x2, y2) > zero
            and sign * edge_function(px, py, x2, y2, x0, y0) > zero
            and sign * edge_function(px, py, x0, y0, x1, y1) > zero
        )
        distances[column - first] = -distance if inside else distance
        nearest[column - first] = edge


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _multiply_band(
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    first_row: int,
    end_row: int,
    sigma: float,
    blur_radius: float,
    transmittance: np.ndarray,
) -> None:
    """Fill rows [first_row, end_row) of ``transmittance`` [H, W]: the product over faces of 1 - sigmoid(-d / sigma)."""
    real = screen.dtype.type
    size = transmittance.shape[1]
    one, inverse_sigma, blur = real(1), real(1 / sigma), real(blur_radius)
    centers = pixel_centers_1d(real, size, BLOCK)
    frame = np.empty(16, real)
    distances, nearest = np.empty(size, real), np.empty(size, np.int32)
    light = np.ones((end_row - first_row, size + BLOCK), real)
    for f in range(faces.shape[0]):
        first, end = max(boxes[f, 0], first_row), min(boxes[f, 1], end_row)
        if first >= end:
            continue
        left, right = boxes[f, 2], boxes[f, 3]
        num_blocks = (right - left + BLOCK - 1) // BLOCK
        exact_arithmetic = _face_frame(real, screen, faces[f], frame)
        columns = centers[left:]
        for row in range(first, end):
            line = light[row - first_row, left:]
            if not exact_arithmetic:
                _multiply_row(real, frame, columns, centers[row], num_blocks, inverse_sigma, blur, line)
                continue
            _exact_row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            for column in range(right - left):
                if distances[column] < blur:
                    passed = one / (one + real(math.exp(-distances[column] * inverse_sigma)))
                    line[column] = max(line[column] * passed, real(LEAST_LIGHT))
    transmittance[first_row:end_row] = light[:, :size]


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _gradient_of_run(
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    first_face: int,
    end_face: int,
    sigma: float,
    blur_radius: float,
    grad_transmittance: np.ndarray,
    corners: np.ndarray,
) -> None:
    """Fill ``corners``: the gradient by (u, v) of the corners of faces [first_face, end_face).

    ``grad_transmittance`` [H, W + BLOCK] is a pixel's gradient by coverage times its transmittance T; 0 outside the
    image.
    """
    real = screen.dtype.type
    size = grad_transmittance.shape[0]
    one, zero, inverse_sigma, blur = real(1), real(0), real(1 / sigma), real(blur_radius)
    centers = pixel_centers_1d(real, size, BLOCK)
    frame = np.empty(16, real)
    distances, nearest = np.empty(size, real), np.empty(size, np.int32)
    parts = np.empty(6 * CHUNK, real)
    for f in range(first_face, end_face):
        corners[f] = 0.0
        left, right = boxes[f, 2], boxes[f, 3]
        if boxes[f, 0] >= boxes[f, 1]:
            continue
        if not _face_frame(real, screen, faces[f], frame):
            g0, g1, g2, g3, g4, g5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for start in range(left, right, CHUNK):
                width = min(right - start, CHUNK)
                num_blocks, columns = (width + BLOCK - 1) // BLOCK, centers[start:]
                for first in range(boxes[f, 0], boxes[f, 1], SUMMED_ROWS):
                    parts[:] = zero
                    for row in range(first, min(first + SUMMED_ROWS, boxes[f, 1])):
                        row_gradients = grad_transmittance[row, start:]
                        _gradient_row(
                            real, frame, columns, centers[row], num_blocks, inverse_sigma, blur, row_gradients, parts
                        )
                    for lane in range(width):
                        g0 += parts[lane]
                        g1 += parts[CHUNK + lane]
                        g2 += parts[2 * CHUNK + lane]
                        g3 += parts[3 * CHUNK + lane]
                        g4 += parts[4 * CHUNK + lane]
                        g5 += parts[5 * CHUNK + lane]
            corners[f, 0], corners[f, 1], corners[f, 2] = g0, g1, g2
            corners[f, 3], corners[f, 4], corners[f, 5] = g3, g4, g5
            continue
        for row in range(boxes[f, 0], boxes[f, 1]):
            _exact_row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            for column in range(left, right):
                distance, grad_pixel = distances[column - left], grad_transmittance[row, column]
                if not distance < blur or grad_pixel == zero:
                    continue
                slope = -grad_pixel * inverse_sigma / (one + real(math.exp(distance * inverse_sigma)))
                if distance < zero:
                    slope = -slope
                edge = nearest[column - left]
                a, b = 2 * (edge // 2), 2 + 2 * min(edge, 1)
                dxa, dya, dxb, dyb = segment_gradient(
                    real, centers[column], centers[row], frame[a], frame[a + 1], frame[b], frame[b + 1]
                )
                corners[f, a] += slope * dxa
                corners[f, a + 1] += slope * dya
                corners[f, b] += slope * dxb
                corners[f, b + 1] += slope * dyb


@njit(cache=True, fastmath=False, nogil=True)
def band_transmittances(
    first: int,
    end: int,
    num_bands: int,
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    sigma: float,
    blur_radius: float,
    transmittance: np.ndarray,
) -> None:
    """Run tasks [first, end): each fills one band of rows of ``transmittance`` [B, H, W]."""
    size = transmittance.shape[1]
    for task in range(first, end):
        image, band = task // num_bands, task % num_bands
        _multiply_band(
            screen[image],
            faces,
            boxes[image],
            band * size // num_bands,
            (band + 1) * size // num_bands,
            sigma,
            blur_radius,
            transmittance[image],
        )


@njit(cache=True, fastmath=False, nogil=True)
def run_gradients(
    first: int,
    end: int,
    num_runs: int,
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    sigma: float,
    blur_radius: float,
    grad_transmittance: np.ndarray,
    corners: np.ndarray,
) -> None:
    """Run tasks [first, end): each fills ``corners`` float64 [B, F, 6], the gradient, for one run of faces."""
    num_faces = faces.shape[0]
    for task in range(first, end):
        image, run = task // num_runs, task % num_runs
        _gradient_of_run(
            screen[image],
            faces,
            boxes[image],
            run * num_faces // num_runs,
            (run + 1) * num_faces // num_runs,
            sigma,
            blur_radius,
            grad_transmittance[image],
            corners[image],
        )


@njit(cache=True, fastmath=False, nogil=True)
def gather_corners(first: int, end: int, faces: np.ndarray, corners: np.ndarray, vertices: np.ndarray) -> None:
    """Add the corners' gradients to ``vertices`` [B, V, 3] of images [first, end), face by face."""
    for image in range(first, end):
        for f in range(faces.shape[0]):
            for c in range(3):
                vertices[image, faces[f, c], 0] += corners[image, f, 2 * c]
                vertices[image, faces[f, c], 1] += corners[image, f, 2 * c + 1]
