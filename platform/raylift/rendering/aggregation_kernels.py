"""Compiled sums over the faces at a pixel: attributes of corners, and texels, times weights; and their gradients.

Colours of single fragments are never stored. Tasks are images: each scatters into gradients of its own, in order.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, fastmath=False, nogil=True)
def sum_attributes(
    first: int,
    end: int,
    pix_to_face: np.ndarray,
    weights: np.ndarray,
    bary: np.ndarray,
    attributes: np.ndarray,
    out: np.ndarray,
) -> None:
    """``out`` [B, C, H, W] of images [first, end) = sum_k w_k sum_c bary_kc attributes [B, F, 3, C] at (f_k, c)."""
    _, rows, columns, num_layers = pix_to_face.shape
    out[first:end] = 0
    for image in range(first, end):
        for row in range(rows):
            for column in range(columns):
                for k in range(num_layers):
                    f = pix_to_face[image, row, column, k]
                    if f < 0:
                        break
                    weight = weights[image, row, column, k]
                    for corner in range(3):
                        share = weight * bary[image, row, column, k, corner]
                        for channel in range(attributes.shape[3]):
                            out[image, channel, row, column] += share * attributes[image, f, corner, channel]


@njit(cache=True, fastmath=False, nogil=True)
def sum_attributes_gradient(
    first: int,
    end: int,
    pix_to_face: np.ndarray,
    weights: np.ndarray,
    bary: np.ndarray,
    attributes: np.ndarray,
    gradient: np.ndarray,
    grad_weights: np.ndarray,
    grad_bary: np.ndarray,
    grad_attributes: np.ndarray,
) -> None:
    """Gradients by weights, bary and attributes (float64), all 0 before."""
    _, rows, columns, num_layers = pix_to_face.shape
    for image in range(first, end):
        for row in range(rows):
            for column in range(columns):
                for k in range(num_layers):
                    f = pix_to_face[image, row, column, k]
                    if f < 0:
                        break
                    weight = weights[image, row, column, k]
                    for corner in range(3):
                        portion = bary[image, row, column, k, corner]
                        along = 0.0
                        for channel in range(attributes.shape[3]):
                            g = gradient[image, channel, row, column]
                            along += g * attributes[image, f, corner, channel]
                            grad_attributes[image, f, corner, channel] += weight * portion * g
                        grad_weights[image, row, column, k] += portion * along
                        grad_bary[image, row, column, k, corner] = weight * along


@njit(cache=True, fastmath=False, nogil=True)
def _texel(u: float, v: float, rows: int, columns: int) -> tuple[int, int, int, int, float, float, float, float]:
    """Rows and columns around (u, v), OpenGL's, held inside; shares of the later ones; derivatives of these by u, v."""
    x, y, slope_x, slope_y = u * columns - 0.5, (1.0 - v) * rows - 0.5, float(columns), -float(rows)
    if not x > 0.0:
        x, slope_x = 0.0, 0.0
    if x >= columns - 1.0:
        x, slope_x = columns - 1.0, 0.0
    if not y > 0.0:
        y, slope_y = 0.0, 0.0
    if y >= rows - 1.0:
        y, slope_y = rows - 1.0, 0.0
    j, i = int(x), int(y)
    return i, min(i + 1, rows - 1), j, min(j + 1, columns - 1), y - i, x - j, slope_x, slope_y


@njit(cache=True, fastmath=False, nogil=True)
def sum_texels(
    first: int,
    end: int,
    pix_to_face: np.ndarray,
    weights: np.ndarray,
    bary: np.ndarray,
    corner_uvs: np.ndarray,
    texture: np.ndarray,
    out: np.ndarray,
) -> None:
    """``out`` [B, C, H, W] of images [first, end) = sum_k w_k texture [B, C, Ht, Wt] at sum_c bary_kc uv [F, 3, 2]."""
    _, rows, columns, num_layers = pix_to_face.shape
    out[first:end] = 0
    for image in range(first, end):
        for row in range(rows):
            for column in range(columns):
                for k in range(num_layers):
                    f = pix_to_face[image, row, column, k]
                    if f < 0:
                        break
                    u, v = 0.0, 0.0
                    for corner in range(3):
                        u += bary[image, row, column, k, corner] * corner_uvs[f, corner, 0]
                        v += bary[image, row, column, k, corner] * corner_uvs[f, corner, 1]
                    i0, i1, j0, j1, down, across, _, _ = _texel(u, v, texture.shape[2], texture.shape[3])
                    weight = weights[image, row, column, k]
                    for channel in range(texture.shape[1]):
                        top = (1 - across) * texture[image, channel, i0, j0] + across * texture[image, channel, i0, j1]
                        low = (1 - across) * texture[image, channel, i1, j0] + across * texture[image, channel, i1, j1]
                        out[image, channel, row, column] += weight * ((1 - down) * top + down * low)


@njit(cache=True, fastmath=False, nogil=True)
def sum_texels_gradient(
    first: int,
    end: int,
    pix_to_face: np.ndarray,
    weights: np.ndarray,
    bary: np.ndarray,
    corner_uvs: np.ndarray,
    texture: np.ndarray,
    gradient: np.ndarray,
    grad_weights: np.ndarray,
    grad_bary: np.ndarray,
    grad_texture: np.ndarray,
) -> None:
    """Gradients by weights, bary and texture (float64), all 0 before."""
    _, rows, columns, num_layers = pix_to_face.shape
    for image in range(first, end):
        for row in range(rows):
            for column in range(columns):
                for k in range(num_layers):
                    f = pix_to_face[image, row, column, k]
                    if f < 0:
                        break
                    u, v = 0.0, 0.0
                    for corner in range(3):
                        u += bary[image, row, column, k, corner] * corner_uvs[f, corner, 0]
                        v += bary[image, row, column, k, corner] * corner_uvs[f, corner, 1]
                    i0, i1, j0, j1, down, across, slope_x, slope_y = _texel(u, v, texture.shape[2], texture.shape[3])
                    weight = weights[image, row, column, k]
                    color, grad_u, grad_v = 0.0, 0.0, 0.0
                    for channel in range(texture.shape[1]):
                        g = gradient[image, channel, row, column]
                        a, b = texture[image, channel, i0, j0], texture[image, channel, i0, j1]
                        c, d = texture[image, channel, i1, j0], texture[image, channel, i1, j1]
                        top, low = (1 - across) * a + across * b, (1 - across) * c + across * d
                        color += g * ((1 - down) * top + down * low)
                        grad_u += g * ((1 - down) * (b - a) + down * (d - c)) * slope_x
                        grad_v += g * (low - top) * slope_y
                        share = weight * g
                        grad_texture[image, channel, i0, j0] += share * (1 - down) * (1 - across)
                        grad_texture[image, channel, i0, j1] += share * (1 - down) * across
                        grad_texture[image, channel, i1, j0] += share * down * (1 - across)
                        grad_texture[image, channel, i1, j1] += share * down * across
                    grad_weights[image, row, column, k] = color
                    for corner in range(3):
                        grad_bary[image, row, column, k, corner] = weight * (
                            grad_u * corner_uvs[f, corner, 0] + grad_v * corner_uvs[f, corner, 1]
                        )
