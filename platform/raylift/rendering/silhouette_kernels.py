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

from raylift.rendering.point_triangle import EPSILON, edge_function, segment_gradient, triangle_distance
from raylift.rendering.zbuffer import SLIVER_AREA, pixel_range

BAND_ROWS = 8
RUN_FACES = 64
CAREFUL_SINE = 0.02
"""Faces with an angle whose sine is no more than this are measured as PyTorch3D does, operation by operation: of two
edges that all but coincide, rounding decides which is nearer, and the gradient follows."""


@njit(cache=True, fastmath=False, nogil=True)
def face_boxes(screen: np.ndarray, faces: np.ndarray, size: int, reach: float, boxes: np.ndarray) -> None:
    """First and end row, first and end column that each face of one image can touch; an empty box leaves it out."""
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = edge_function(x0, y0, x1, y1, x2, y2)  # the corners' order that PyTorch3D decides by
        boxes[f, 0] = boxes[f, 1] = boxes[f, 2] = boxes[f, 3] = 0
        if not (abs(area) > SLIVER_AREA and min(screen[a, 2], screen[b, 2], screen[c, 2]) >= EPSILON):
            continue
        first_column, end_column = pixel_range(min(x0, x1, x2) - reach, max(x0, x1, x2) + reach, size)
        if first_column < end_column:
            boxes[f, 2], boxes[f, 3] = first_column, end_column
            boxes[f, 0], boxes[f, 1] = pixel_range(min(y0, y1, y2) - reach, max(y0, y1, y2) + reach, size)


@njit(cache=True, fastmath=False, nogil=True)
def pixel_centers_1d(real: Any, size: int) -> np.ndarray:
    """Normalised coordinate of each column's or row's centre, rounded as PyTorch3D's, whose axes run backwards."""
    centers = np.empty(size, real)
    for index in range(size):
        centers[index] = real(1) - real(2 * (size - index) - 1) / real(size)
    return centers


@njit(cache=True, fastmath=False, nogil=True)
def _inverse_length(real: Any, x: float, y: float) -> float:
    """1 / length of an edge, or 0 where PyTorch3D takes the edge for a point."""
    length = x * x + y * y
    if length <= EPSILON:
        return real(0)
    return real(1) / real(math.sqrt(length))


@njit(cache=True, fastmath=False, nogil=True)
def _clamped_distance(real: Any, px: float, py: float, dx: float, dy: float, inverse: float, off: float) -> float:
    """Squared distance to a segment from its start's p: off the line by ``off``, and beyond an end if it is there."""
    along = (dx * px + dy * py) * inverse * inverse
    beyond = real(0)
    if along < beyond:
        beyond = along / inverse
    elif along > real(1):
        beyond = (along - real(1)) / inverse
    return off * off + beyond * beyond


@njit(cache=True, fastmath=False, nogil=True)
def _signed_distance(
    real: Any,
    px: float,
    py: float,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    sign: float,
    i01: float,
    i02: float,
    i12: float,
    reach: float,
) -> tuple[float, int]:
    """PyTorch3D's ``dists`` and the nearest edge (0: 01, 1: 02, 2: 12); -1 where p is surely out of reach.

    From inside, the nearest edge's line is as near as the edge. From outside, only edges that face p can be nearest.
    """
    s12 = sign * edge_function(px, py, x1, y1, x2, y2) * i12
    s02 = sign * edge_function(px, py, x2, y2, x0, y0) * i02
    s01 = sign * edge_function(px, py, x0, y0, x1, y1) * i01
    zero = real(0)
    if s01 > zero and s02 > zero and s12 > zero:
        if s01 <= s02 and s01 <= s12:
            return -s01 * s01, 0
        if s02 <= s12:
            return -s02 * s02, 1
        return -s12 * s12, 2
    if min(s01, s02, s12) < -reach:
        return zero, -1
    distance, nearest = real(math.inf), -1
    if s01 <= zero:
        distance, nearest = _clamped_distance(real, px - x0, py - y0, x1 - x0, y1 - y0, i01, s01), 0
    if s02 <= zero:
        other = _clamped_distance(real, px - x0, py - y0, x2 - x0, y2 - y0, i02, s02)
        if other < distance:
            distance, nearest = other, 1
    if s12 <= zero:
        other = _clamped_distance(real, px - x1, py - y1, x2 - x1, y2 - y1, i12, s12)
        if other < distance:
            distance, nearest = other, 2
    return distance, nearest


@njit(cache=True, fastmath=False, nogil=True)
def _careful_distance(
    real: Any,
    px: float,
    py: float,
    x0: float,
    y0: float,
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    sign: float,
) -> tuple[float, int]:
    """``_signed_distance`` for slivers, and for faces with an edge so short that it counts as a point."""
    zero = real(0)
    inside = (
        sign * edge_function(px, py, x1, y1, x2, y2) > zero
        and sign * edge_function(px, py, x2, y2, x0, y0) > zero
        and sign * edge_function(px, py, x0, y0, x1, y1) > zero
    )
    distance, nearest = triangle_distance(real, px, py, x0, y0, x1, y1, x2, y2)
    return (-distance if inside else distance), nearest


@njit(cache=True, fastmath=False, nogil=True)
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
    one, zero, inverse_sigma, blur = real(1), real(0), real(1 / sigma), real(blur_radius)
    reach = real(math.sqrt(blur_radius) * (1 + 1e-5) + 1e-6)
    centers = pixel_centers_1d(real, size)
    for row in range(first_row, end_row):
        for column in range(size):
            transmittance[row, column] = one
    for f in range(faces.shape[0]):
        first, end = max(boxes[f, 0], first_row), min(boxes[f, 1], end_row)
        if first >= end:
            continue
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = edge_function(x2, y2, x0, y0, x1, y1)
        sign = one if area > zero else -one
        i01, i02 = _inverse_length(real, x1 - x0, y1 - y0), _inverse_length(real, x2 - x0, y2 - y0)
        i12 = _inverse_length(real, x2 - x1, y2 - y1)
        careful = not abs(area) * i01 * i02 > CAREFUL_SINE or not abs(area) * i12 * min(i01, i02) > CAREFUL_SINE
        for row in range(first, end):
            py = centers[row]
            for column in range(boxes[f, 2], boxes[f, 3]):
                px = centers[column]
                if careful:
                    distance, nearest = _careful_distance(real, px, py, x0, y0, x1, y1, x2, y2, sign)
                else:
                    distance, nearest = _signed_distance(
                        real, px, py, x0, y0, x1, y1, x2, y2, sign, i01, i02, i12, reach
                    )
                if nearest >= 0 and distance < blur:
                    transmittance[row, column] /= one + real(math.exp(-distance * inverse_sigma))


@njit(cache=True, fastmath=False, nogil=True)
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
    reach = real(math.sqrt(blur_radius) * (1 + 1e-5) + 1e-6)
    centers = pixel_centers_1d(real, size)
    for f in range(first_face, end_face):
        gx0, gy0, gx1, gy1, gx2, gy2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, x1, y1, x2, y2 = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = edge_function(x2, y2, x0, y0, x1, y1)
        sign = one if area > zero else -one
        i01, i02 = _inverse_length(real, x1 - x0, y1 - y0), _inverse_length(real, x2 - x0, y2 - y0)
        i12 = _inverse_length(real, x2 - x1, y2 - y1)
        careful = not abs(area) * i01 * i02 > CAREFUL_SINE or not abs(area) * i12 * min(i01, i02) > CAREFUL_SINE
        for row in range(boxes[f, 0], boxes[f, 1]):
            py = centers[row]
            for column in range(boxes[f, 2], boxes[f, 3]):
                pulled = pull[row, column]
                if pulled == zero:
                    continue
                px = centers[column]
                if careful:
                    distance, nearest = _careful_distance(real, px, py, x0, y0, x1, y1, x2, y2, sign)
                else:
                    distance, nearest = _signed_distance(
                        real, px, py, x0, y0, x1, y1, x2, y2, sign, i01, i02, i12, reach
                    )
                if not (nearest >= 0 and distance < blur):
                    continue
                slope = -pulled * inverse_sigma / (one + real(math.exp(distance * inverse_sigma)))
                if distance < zero:
                    slope = -slope
                if nearest == 0:
                    dxa, dya, dxb, dyb = segment_gradient(real, px, py, x0, y0, x1, y1)
                    gx0, gy0 = gx0 + slope * dxa, gy0 + slope * dya
                    gx1, gy1 = gx1 + slope * dxb, gy1 + slope * dyb
                elif nearest == 1:
                    dxa, dya, dxb, dyb = segment_gradient(real, px, py, x0, y0, x2, y2)
                    gx0, gy0 = gx0 + slope * dxa, gy0 + slope * dya
                    gx2, gy2 = gx2 + slope * dxb, gy2 + slope * dyb
                else:
                    dxa, dya, dxb, dyb = segment_gradient(real, px, py, x1, y1, x2, y2)
                    gx1, gy1 = gx1 + slope * dxa, gy1 + slope * dya
                    gx2, gy2 = gx2 + slope * dxb, gy2 + slope * dyb
        corners[f, 0], corners[f, 1], corners[f, 2] = gx0, gy0, gx1
        corners[f, 3], corners[f, 4], corners[f, 5] = gy1, gx2, gy2


@njit(cache=True, fastmath=False, nogil=True)
def image_boxes(
    first: int, end: int, screen: np.ndarray, faces: np.ndarray, size: int, blur_radius: float, boxes: np.ndarray
) -> None:
    """``boxes`` int32 [B, F, 4] of images [first, end) of meshes ``screen`` [B, V, 3]."""
    for image in range(first, end):
        face_boxes(screen[image], faces, size, math.sqrt(blur_radius), boxes[image])


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
