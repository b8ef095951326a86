"""Compiled kernels of the fused soft silhouette: how much light each pixel lets through, and the way back.

Forward runs over bands of rows, each of which multiplies the faces in their order into its own pixels; backward over
runs of faces, each of which sums over its own box of pixels. Nobody writes where another writes, so the result is the
same to the last bit for any number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import EPSILON, edge_function, segment_gradient, triangle_distance

RUN_FACES = 64
"""Faces that are one task on the way back."""
BLOCK = 8
"""Pixels that are measured at once."""
CAREFUL_RATIO = 0.02
"""Faces of at most this height over length are measured as PyTorch3D does, operation by operation: of two edges that
all but coincide, rounding decides which is nearer, and the gradient follows."""


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _edge_frame(real: Any, ax: float, ay: float, bx: float, by: float) -> tuple[float, float, float]:
    """Unit vector along an edge, and its length; all 0 where PyTorch3D takes the edge for a point."""
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    if square <= EPSILON:
        return real(0), real(0), real(0)
    length = real(math.sqrt(square))
    return dx / length, dy / length, length


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _face_frame(real: Any, screen: np.ndarray, face: np.ndarray, frame: np.ndarray) -> bool:
    """Corners, edges (01, 02, 12) and orientation of a face, for ``_row_distances``; True if it is to be careful."""
    for c in range(3):
        frame[2 * c], frame[2 * c + 1] = screen[face[c], 0], screen[face[c], 1]
    x0, y0, x1, y1, x2, y2 = frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]
    area = edge_function(x2, y2, x0, y0, x1, y1)
    frame[6], frame[7], frame[8] = _edge_frame(real, x0, y0, x1, y1)
    frame[9], frame[10], frame[11] = _edge_frame(real, x0, y0, x2, y2)
    frame[12], frame[13], frame[14] = _edge_frame(real, x1, y1, x2, y2)
    frame[15] = real(1) if area > real(0) else real(-1)
    shortest, longest = min(frame[8], frame[11], frame[14]), max(frame[8], frame[11], frame[14])
    return not abs(area) > CAREFUL_RATIO * longest * longest or shortest == real(0)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy", inline="always")
def _row_distances(
    real: Any,
    frame: np.ndarray,
    centers: np.ndarray,
    py: float,
    first: int,
    end: int,
    distances: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """PyTorch3D's ``dists`` and the nearest edge (0: 01, 1: 02, 2: 12), to a face at columns [first, end) of a row.

    Free of branches, over whole blocks, which the compiler computes at once; the last block may run past the end, for
    which the arrays have room.
    """
    x0, y0, x1, y1 = frame[0], frame[1], frame[2], frame[3]
    dx01, dy01, length01 = frame[6], frame[7], frame[8]
    dx02, dy02, length02 = frame[9], frame[10], frame[11]
    dx12, dy12, length12 = frame[12], frame[13], frame[14]
    sign, zero = frame[15], real(0)
    columns = centers[first:]  # an index that might be negative could not be computed for a whole block
    for lane in range((end - first + BLOCK - 1) // BLOCK * BLOCK):
        px = columns[lane]
        qx0, qy0, qx1, qy1 = px - x0, py - y0, px - x1, py - y1
        # Off each edge's line, positive towards the inside; along the line, beyond either end.
        off01 = sign * (qx0 * dy01 - qy0 * dx01)
        off02 = sign * (qy0 * dx02 - qx0 * dy02)
        off12 = sign * (qx1 * dy12 - qy1 * dx12)
        along01, along02, along12 = qx0 * dx01 + qy0 * dy01, qx0 * dx02 + qy0 * dy02, qx1 * dx12 + qy1 * dy12
        beyond01 = min(along01, zero) + max(along01 - length01, zero)
        beyond02 = min(along02, zero) + max(along02 - length02, zero)
        beyond12 = min(along12, zero) + max(along12 - length12, zero)
        d01 = off01 * off01 + beyond01 * beyond01
        d02 = off02 * off02 + beyond02 * beyond02
        d12 = off12 * off12 + beyond12 * beyond12
        least = min(d01, d02, d12)
        inside = min(off01, off02, off12) > zero
        distances[lane] = -least if inside else least
        nearest[lane] = 0 if d01 == least else (1 if d02 == least else 2)


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _careful_row_distances(
    real: Any,
    frame: np.ndarray,
    centers: np.ndarray,
    py: float,
    first: int,
    end: int,
    distances: np.ndarray,
    nearest: np.ndarray,
) -> None:
    """``_row_distances`` in PyTorch3D's arithmetic."""
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
    """transmittance [H, W] of rows [first_row, end_row) = product over faces of 1 - sigmoid(-d / sigma)."""
    real = screen.dtype.type
    size = transmittance.shape[1]
    one, inverse_sigma, blur = real(1), real(1 / sigma), real(blur_radius)
    centers = pixel_centers_1d(real, size, BLOCK)
    frame = np.empty(16, real)
    distances, nearest = np.empty(size + BLOCK, real), np.empty(size + BLOCK, np.int32)
    transmittance[first_row:end_row] = one
    for f in range(faces.shape[0]):
        first, end = max(boxes[f, 0], first_row), min(boxes[f, 1], end_row)
        if first >= end:
            continue
        left, right = boxes[f, 2], boxes[f, 3]
        careful = _face_frame(real, screen, faces[f], frame)
        for row in range(first, end):
            if careful:
                _careful_row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            else:
                _row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            for column in range(left, right):
                distance = distances[column - left]
                if distance < blur:
                    transmittance[row, column] /= one + real(math.exp(-distance * inverse_sigma))


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _gradient_of_run(
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    first_face: int,
    end_face: int,
    sigma: float,
    blur_radius: float,
    pull: np.ndarray,
    corners: np.ndarray,
) -> None:
    """Gradient by (u, v) of the corners of faces [first_face, end_face).

    ``pull`` is the gradient by a pixel's coverage times its transmittance T; d coverage / d dists = -T p / sigma.
    """
    real = screen.dtype.type
    size = pull.shape[1]
    one, zero, inverse_sigma, blur = real(1), real(0), real(1 / sigma), real(blur_radius)
    centers = pixel_centers_1d(real, size, BLOCK)
    frame = np.empty(16, real)
    distances, nearest = np.empty(size + BLOCK, real), np.empty(size + BLOCK, np.int32)
    for f in range(first_face, end_face):
        corners[f] = 0.0
        left, right = boxes[f, 2], boxes[f, 3]
        if boxes[f, 0] >= boxes[f, 1]:
            continue
        careful = _face_frame(real, screen, faces[f], frame)
        for row in range(boxes[f, 0], boxes[f, 1]):
            if careful:
                _careful_row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            else:
                _row_distances(real, frame, centers, centers[row], left, right, distances, nearest)
            for column in range(left, right):
                distance, pulled = distances[column - left], pull[row, column]
                if not distance < blur or pulled == zero:
                    continue
                slope = -pulled * inverse_sigma / (one + real(math.exp(distance * inverse_sigma)))
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
    """Tasks [first, end): a band of rows of ``transmittance`` [B, H, W] each."""
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
    pull: np.ndarray,
    corners: np.ndarray,
) -> None:
    """Tasks [first, end): the gradient ``corners`` float64 [B, F, 6] of a run of faces each."""
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
            pull[image],
            corners[image],
        )


@njit(cache=True, fastmath=False, nogil=True)
def gather_corners(first: int, end: int, faces: np.ndarray, corners: np.ndarray, vertices: np.ndarray) -> None:
    """``vertices`` [B, V, 3] of images [first, end) += the gradients of the corners that meet there, face by face."""
    for image in range(first, end):
        for f in range(faces.shape[0]):
            for c in range(3):
                vertices[image, faces[f, c], 0] += corners[image, f, 2 * c]
                vertices[image, faces[f, c], 1] += corners[image, f, 2 * c + 1]
