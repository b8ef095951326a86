"""Compiled measurement of face lists: the values of ``Fragments``, bit-identical to PyTorch3D's."""

from __future__ import annotations

import numpy as np
from numba import njit

from raylift.rendering.face_boxes import pixel_centers_1d
from raylift.rendering.point_triangle import clipped_weights, perspective_weights, screen_weights, triangle_distance


@njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def measure_lists(
    first: int,
    end: int,
    screen: np.ndarray,
    faces: np.ndarray,
    lists: np.ndarray,
    counts: np.ndarray,
    clip: bool,
    perspective: bool,
    pix_to_face: np.ndarray,
    zbuf: np.ndarray,
    bary: np.ndarray,
    dists: np.ndarray,
) -> None:
    """Fill the output arrays, initialised to -1, for images [first, end)."""
    real = screen.dtype.type
    zero = real(0)
    _, size, _, _ = lists.shape
    centers = pixel_centers_1d(real, size, 0)
    for image in range(first, end):
        for row in range(size):
            for column in range(size):
                px, py = centers[column], centers[row]
                for k in range(counts[image, row, column]):
                    f = lists[image, row, column, k]
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    x0, y0, z0 = screen[image, a, 0], screen[image, a, 1], screen[image, a, 2]
                    x1, y1, z1 = screen[image, b, 0], screen[image, b, 1], screen[image, b, 2]
                    x2, y2, z2 = screen[image, c, 0], screen[image, c, 1], screen[image, c, 2]
                    w0, w1, w2 = screen_weights(real, px, py, x0, y0, x1, y1, x2, y2)
                    if perspective:
                        w0, w1, w2 = perspective_weights(real, w0, w1, w2, z0, z1, z2)
                    inside = w0 > zero and w1 > zero and w2 > zero
                    if clip:
                        w0, w1, w2 = clipped_weights(real, w0, w1, w2)
                    distance, _ = triangle_distance(real, px, py, x0, y0, x1, y1, x2, y2)
                    pix_to_face[image, row, column, k] = f
                    zbuf[image, row, column, k] = w0 * z0 + w1 * z1 + w2 * z2
                    dists[image, row, column, k] = -distance if inside else distance
                    bary[image, row, column, k, 0] = w0
                    bary[image, row, column, k, 1] = w1
                    bary[image, row, column, k, 2] = w2
