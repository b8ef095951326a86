"""Compiled kernels of soft rasterisation: the K nearest faces at each pixel with their derivatives.

Rows of an image are shared among bands; the gradient of each band has its own buffer, and buffers are added in order.
The number of bands depends on the batch alone, so the result is the same to the last bit for any number of threads.

Tie rule: at equal depth the lower face index comes first, as in PyTorch3D, whose arithmetic is followed operation by
operation so that depths that are equal there are equal here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import (
    clipped_gradient,
    clipped_weights,
    perspective_gradient,
    perspective_weights,
    screen_weights,
    screen_weights_gradient,
    segment_gradient,
    triangle_distance,
)

NUM_BANDS = 16
"""Bands of rows over the whole batch that have gradients of their own, at least one an image."""


@njit(cache=True, fastmath=False, nogil=True)
def _weights(
    real: Any, px: float, py: float, corners: np.ndarray, perspective: bool
) -> tuple[float, float, float, float, float, float]:
    """Weights on the screen, then on the face (the same where nothing is foreshortened), not clipped."""
    s0, s1, s2 = screen_weights(
        real,
        px,
        py,
        corners[0, 0],
        corners[0, 1],
        corners[1, 0],
        corners[1, 1],
        corners[2, 0],
        corners[2, 1],
    )
    if perspective:
        w0, w1, w2 = perspective_weights(real, s0, s1, s2, corners[0, 2], corners[1, 2], corners[2, 2])
        return s0, s1, s2, w0, w1, w2
    return s0, s1, s2, s0, s1, s2


@njit(cache=True, fastmath=False, nogil=True)
def _distance(real: Any, px: float, py: float, corners: np.ndarray) -> tuple[float, int]:
    return triangle_distance(
        real,
        px,
        py,
        corners[0, 0],
        corners[0, 1],
        corners[1, 0],
        corners[1, 1],
        corners[2, 0],
        corners[2, 1],
    )


@njit(cache=True, fastmath=False, nogil=True)
def _fill_band(
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    first_row: int,
    end_row: int,
    blur_radius: float,
    perspective: bool,
    pix_to_face: np.ndarray,
    zbuf: np.ndarray,
    bary: np.ndarray,
    dists: np.ndarray,
) -> None:
    """The fragments of rows [first_row, end_row) of one image; what ``Fragments`` holds, padded with -1."""
    real = screen.dtype.type
    size, num_layers = zbuf.shape[1], zbuf.shape[2]
    zero, blur = real(0), real(blur_radius)
    centers = pixel_centers_1d(real, size, 0)
    corners = np.empty((3, 3), real)
    count = np.zeros((end_row - first_row, size), np.int32)
    pix_to_face[first_row:end_row] = -1
    zbuf[first_row:end_row] = real(-1)
    bary[first_row:end_row] = real(-1)
    dists[first_row:end_row] = real(-1)
    for f in range(faces.shape[0]):
        first, end = max(boxes[f, 0], first_row), min(boxes[f, 1], end_row)
        if first >= end:
            continue
        for c in range(3):
            corners[c] = screen[faces[f, c]]
        for row in range(first, end):
            py = centers[row]
            for column in range(boxes[f, 2], boxes[f, 3]):
                px = centers[column]
                _, _, _, w0, w1, w2 = _weights(real, px, py, corners, perspective)
                inside = w0 > zero and w1 > zero and w2 > zero
                distance = zero
                if not inside:
                    distance, _ = _distance(real, px, py, corners)
                    if not distance < blur:
                        continue
                if blur > zero:
                    w0, w1, w2 = clipped_weights(real, w0, w1, w2)
                z = w0 * corners[0, 2] + w1 * corners[1, 2] + w2 * corners[2, 2]
                k = count[row - first_row, column]
                if not z >= zero or (k == num_layers and not z < zbuf[row, column, k - 1]):
                    continue
                if k == num_layers:
                    k -= 1
                else:
                    count[row - first_row, column] = k + 1
                while k > 0 and z < zbuf[row, column, k - 1]:
                    zbuf[row, column, k] = zbuf[row, column, k - 1]
                    dists[row, column, k] = dists[row, column, k - 1]
                    pix_to_face[row, column, k] = pix_to_face[row, column, k - 1]
                    bary[row, column, k, 0] = bary[row, column, k - 1, 0]
                    bary[row, column, k, 1] = bary[row, column, k - 1, 1]
                    bary[row, column, k, 2] = bary[row, column, k - 1, 2]
                    k -= 1
                if inside:
                    distance, _ = _distance(real, px, py, corners)
                    distance = -distance
                zbuf[row, column, k] = z
                dists[row, column, k] = distance
                pix_to_face[row, column, k] = f
                bary[row, column, k, 0], bary[row, column, k, 1], bary[row, column, k, 2] = w0, w1, w2


@njit(cache=True, fastmath=False, nogil=True)
def _gradient_of_band(
    screen: np.ndarray,
    faces: np.ndarray,
    first_row: int,
    end_row: int,
    clip: bool,
    perspective: bool,
    pix_to_face: np.ndarray,
    grad_zbuf: np.ndarray,
    grad_bary: np.ndarray,
    grad_dists: np.ndarray,
    vertices: np.ndarray,
) -> None:
    """vertices float64 [V, 3] += the gradient by way of the fragments of rows [first_row, end_row)."""
    real = screen.dtype.type
    size, num_layers = pix_to_face.shape[1], pix_to_face.shape[2]
    zero = real(0)
    centers = pixel_centers_1d(real, size, 0)
    corners = np.empty((3, 3), real)
    for row in range(first_row, end_row):
        py = centers[row]
        for column in range(size):
            px = centers[column]
            for k in range(num_layers):
                f = pix_to_face[row, column, k]
                if f < 0:
                    break
                gz, gd = grad_zbuf[row, column, k], grad_dists[row, column, k]
                b0, b1, b2 = grad_bary[row, column, k, 0], grad_bary[row, column, k, 1], grad_bary[row, column, k, 2]
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                corners[0], corners[1], corners[2] = screen[a], screen[b], screen[c]
                x0, y0, z0 = corners[0, 0], corners[0, 1], corners[0, 2]
                x1, y1, z1 = corners[1, 0], corners[1, 1], corners[1, 2]
                x2, y2, z2 = corners[2, 0], corners[2, 1], corners[2, 2]
                s0, s1, s2, w0, w1, w2 = _weights(real, px, py, corners, perspective)
                if gz != zero or b0 != zero or b1 != zero or b2 != zero:
                    g0, g1, g2 = b0 + gz * z0, b1 + gz * z1, b2 + gz * z2
                    c0, c1, c2 = w0, w1, w2
                    if clip:
                        c0, c1, c2 = clipped_weights(real, w0, w1, w2)
                    vertices[a, 2] += gz * c0
                    vertices[b, 2] += gz * c1
                    vertices[c, 2] += gz * c2
                    if perspective:
                        g0, g1, g2, gz0, gz1, gz2 = perspective_gradient(real, clip, s0, s1, s2, z0, z1, z2, g0, g1, g2)
                        vertices[a, 2] += gz0
                        vertices[b, 2] += gz1
                        vertices[c, 2] += gz2
                    elif clip:
                        g0, g1, g2 = clipped_gradient(real, w0, w1, w2, g0, g1, g2)
                    gx0, gy0, gx1, gy1, gx2, gy2 = screen_weights_gradient(
                        real, px, py, x0, y0, x1, y1, x2, y2, g0, g1, g2
                    )
                    vertices[a, 0] += gx0
                    vertices[a, 1] += gy0
                    vertices[b, 0] += gx1
                    vertices[b, 1] += gy1
                    vertices[c, 0] += gx2
                    vertices[c, 1] += gy2
                if gd != zero:
                    if w0 > zero and w1 > zero and w2 > zero:
                        gd = -gd
                    _, nearest = _distance(real, px, py, corners)
                    first, second = (b if nearest == 2 else a), (b if nearest == 0 else c)
                    dxa, dya, dxb, dyb = segment_gradient(
                        real,
                        px,
                        py,
                        screen[first, 0],
                        screen[first, 1],
                        screen[second, 0],
                        screen[second, 1],
                    )
                    vertices[first, 0] += gd * dxa
                    vertices[first, 1] += gd * dya
                    vertices[second, 0] += gd * dxb
                    vertices[second, 1] += gd * dyb


@njit(cache=True, fastmath=False, nogil=True)
def band_fragments(
    first: int,
    end: int,
    num_bands: int,
    screen: np.ndarray,
    faces: np.ndarray,
    boxes: np.ndarray,
    blur_radius: float,
    perspective: bool,
    pix_to_face: np.ndarray,
    zbuf: np.ndarray,
    bary: np.ndarray,
    dists: np.ndarray,
) -> None:
    """Tasks [first, end): a band of rows each of what ``Fragments`` holds, for meshes ``screen`` [B, V, 3]."""
    size = zbuf.shape[1]
    for task in range(first, end):
        image, band = task // num_bands, task % num_bands
        _fill_band(
            screen[image],
            faces,
            boxes[image],
            band * size // num_bands,
            (band + 1) * size // num_bands,
            blur_radius,
            perspective,
            pix_to_face[image],
            zbuf[image],
            bary[image],
            dists[image],
        )


@njit(cache=True, fastmath=False, nogil=True)
def band_gradients(
    first: int,
    end: int,
    num_bands: int,
    screen: np.ndarray,
    faces: np.ndarray,
    clip: bool,
    perspective: bool,
    pix_to_face: np.ndarray,
    grad_zbuf: np.ndarray,
    grad_bary: np.ndarray,
    grad_dists: np.ndarray,
    vertices: np.ndarray,
) -> None:
    """Tasks [first, end): the gradient ``vertices`` float64 [B * num_bands, V, 3] of a band each."""
    size = pix_to_face.shape[1]
    for task in range(first, end):
        image, band = task // num_bands, task % num_bands
        _gradient_of_band(
            screen[image],
            faces,
            band * size // num_bands,
            (band + 1) * size // num_bands,
            clip,
            perspective,
            pix_to_face[image],
            grad_zbuf[image],
            grad_bary[image],
            grad_dists[image],
            vertices[task],
        )
