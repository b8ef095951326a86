"""Compiled change of layout: planes of channels to rows of channels and back, of the pixels that are used alone.

Channel passes vectorise over rows. Eight planes at a time are read, so that both sides stay in the cache.
"""

from __future__ import annotations

import numpy as np
from numba import njit

TILE = 64
"""Pixels of an image that a task copies."""


@njit(cache=True, fastmath=False, nogil=True)
def mark_corners(quad: np.ndarray, width: int, used: np.ndarray) -> None:
    """Set ``used`` uint8 [P] at the corners of quads."""
    for pair in range(quad.shape[0]):
        a = quad[pair]
        used[a] = used[a + 1] = used[a + width + 1] = used[a + width] = 1


@njit(cache=True, fastmath=False, nogil=True, inline="always")
def used_pixels(used: np.ndarray, base: int, start: int, stop: int, where: np.ndarray) -> int:
    """Write the used pixels of [start, stop) of the image at ``base``; their number."""
    count = 0
    for pixel in range(start, stop):
        if used[base + pixel]:
            where[count] = pixel
            count += 1
    return count


@njit(cache=True, fastmath=False, nogil=True)
def pack_rows(first: int, end: int, planes: np.ndarray, used: np.ndarray, rows: np.ndarray) -> None:
    """Copy planes [B, D, P] to the used ones of ``rows`` [B * P, D]; tasks are tiles of all images."""
    _, channels, pixels = planes.shape
    tiles = (pixels + TILE - 1) // TILE
    where = np.empty(TILE, np.int64)
    for task in range(first, end):
        image, start = task // tiles, task % tiles * TILE
        base = image * pixels
        count = used_pixels(used, base, start, min(start + TILE, pixels), where)
        for c in range(0, channels - channels % 8, 8):
            p0, p1, p2, p3 = planes[image, c], planes[image, c + 1], planes[image, c + 2], planes[image, c + 3]
            p4, p5, p6, p7 = planes[image, c + 4], planes[image, c + 5], planes[image, c + 6], planes[image, c + 7]
            for index in range(count):
                pixel = where[index]
                row = rows[base + pixel, c : c + 8]
                row[0], row[1], row[2], row[3] = p0[pixel], p1[pixel], p2[pixel], p3[pixel]
                row[4], row[5], row[6], row[7] = p4[pixel], p5[pixel], p6[pixel], p7[pixel]
        for c in range(channels - channels % 8, channels):
            for index in range(count):
                rows[base + where[index], c] = planes[image, c, where[index]]


@njit(cache=True, fastmath=False, nogil=True)
def unpack_rows(first: int, end: int, rows: np.ndarray, used: np.ndarray, planes: np.ndarray) -> None:
    """Copy the used rows back to ``planes``, which is left as it is elsewhere."""
    _, channels, pixels = planes.shape
    tiles = (pixels + TILE - 1) // TILE
    where = np.empty(TILE, np.int64)
    for task in range(first, end):
        image, start = task // tiles, task % tiles * TILE
        base = image * pixels
        count = used_pixels(used, base, start, min(start + TILE, pixels), where)
        for c in range(0, channels - channels % 8, 8):
            p0, p1, p2, p3 = planes[image, c], planes[image, c + 1], planes[image, c + 2], planes[image, c + 3]
            p4, p5, p6, p7 = planes[image, c + 4], planes[image, c + 5], planes[image, c + 6], planes[image, c + 7]
            for index in range(count):
                pixel = where[index]
                row = rows[base + pixel, c : c + 8]
                p0[pixel], p1[pixel], p2[pixel], p3[pixel] = row[0], row[1], row[2], row[3]
                p4[pixel], p5[pixel], p6[pixel], p7[pixel] = row[4], row[5], row[6], row[7]
        for c in range(channels - channels % 8, channels):
            for index in range(count):
                planes[image, c, where[index]] = rows[base + where[index], c]
