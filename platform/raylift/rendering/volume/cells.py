"""Volumes as the compiled ray-marcher keeps them: padded by one cell of zeros on each side, channels together.

No read needs to ask whether it is inside. Cells are in one row, and so are the channels of a cell, padded to a multiple
of LANES that the compiler computes at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uintp

LANES = 4
"""Channels that are computed at once."""
BRICK_BITS = 2
"""Bricks of cells that are skipped together have an edge of 2^BRICK_BITS cells."""

Corners = tuple[float, float, float, float, float, float, float, float]
"""A value for each of the eight corners of a cell, z changing fastest and x slowest."""


def num_lanes(channels: int) -> int:
    """Channels with their padding."""
    return -(-channels // LANES) * LANES


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def num_bricks(size: int) -> int:
    """Bricks along an axis of ``size`` padded cells, in the last of which no sample is."""
    return ((size - 2) >> BRICK_BITS) + 1


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def pack_volumes(first: int, end: int, values: np.ndarray, packed: np.ndarray) -> None:
    """packed [B, X + 2, Y + 2, Z + 2, lanes] = values [B, C, X, Y, Z], with zeros around."""
    channels = values.shape[1]
    for volume in range(first, end):
        cells, inside = packed[volume], values[volume]
        cells[:] = 0
        for i in range(inside.shape[1]):
            for j in range(inside.shape[2]):
                for channel in range(channels):
                    for k in range(inside.shape[3]):
                        cells[i + 1, j + 1, k + 1, channel] = inside[channel, i, j, k]


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def unpack_volumes(first: int, end: int, parts: np.ndarray, values: np.ndarray) -> None:
    """values [B, C, X, Y, Z] = sum over parts of [B, parts, X + 2, Y + 2, Z + 2, lanes], in their order."""
    for volume in range(first, end):
        inside = values[volume]
        for i in range(inside.shape[1]):
            for j in range(inside.shape[2]):
                for channel in range(inside.shape[0]):
                    for k in range(inside.shape[3]):
                        total = parts[volume, 0, i + 1, j + 1, k + 1, channel]
                        for part in range(1, parts.shape[1]):
                            total += parts[volume, part, i + 1, j + 1, k + 1, channel]
                        inside[channel, i, j, k] = total


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def mark_bricks(first: int, end: int, density: np.ndarray, limit: float, occupied: np.ndarray) -> None:
    """Volumes [first, end): occupied [B, bricks of X, of Y, of Z] = 1 where a sample may read more than ``limit``.

    A sample in cell (i, j, k) of ``density``, padded [B, X, Y, Z], reads cells i and i + 1, and j and k alike.
    """
    for volume in range(first, end):
        cells, bricks = density[volume], occupied[volume]
        bricks[:] = 0
        for i in range(1, cells.shape[0] - 1):
            for j in range(1, cells.shape[1] - 1):
                for k in range(1, cells.shape[2] - 1):
                    if cells[i, j, k] > limit:
                        for bi in range((i - 1) >> BRICK_BITS, (i >> BRICK_BITS) + 1):
                            for bj in range((j - 1) >> BRICK_BITS, (j >> BRICK_BITS) + 1):
                                for bk in range((k - 1) >> BRICK_BITS, (k >> BRICK_BITS) + 1):
                                    bricks[bi, bj, bk] = 1


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def stays_inside(real: Any, ray: np.ndarray, last: int, size: tuple[int, int, int]) -> bool:
    """Whether a ray that hits the box may be read without looking: both of its ends are in the padded volume."""
    inside = ray[6] > real(0)
    for axis in range(3):
        begin, far, edge = ray[axis], ray[axis] + real(last) * ray[3 + axis], real(size[axis]) - real(1.25)
        inside = inside and begin > real(0.25) and begin < edge and far > real(0.25) and far < edge
    return inside


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def locate(real: Any, ray: np.ndarray, at: int, size: tuple[int, int, int]) -> tuple[int, float, float, float]:
    """The cell before sample ``at``, as a place in the row of cells, and the fractions of the way to the next ones."""
    n = real(at)
    x, y, z = ray[0] + n * ray[3], ray[1] + n * ray[4], ray[2] + n * ray[5]
    i, j, k = int(x), int(y), int(z)
    return (i * size[1] + j) * size[2] + k, x - real(i), y - real(j), z - real(k)


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def corner_places(cell: int, size: tuple[int, int, int], stride: int) -> tuple[int, ...]:
    """Places of a cell's eight corners in a row with ``stride`` values per cell."""
    z, y, x = uintp(stride), uintp(size[2] * stride), uintp(size[1] * size[2] * stride)
    a = uintp(cell * stride)
    e = a + x
    return a, a + z, a + y, a + y + z, e, e + z, e + y, e + y + z


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def corner_weights(real: Any, fx: float, fy: float, fz: float, weight: float) -> Corners:
    """Trilinear weights of the corners, times ``weight``."""
    gx, gy, gz = weight * (real(1) - fx), real(1) - fy, real(1) - fz
    fx = weight * fx
    a, b, c, d = gx * gy, gx * fy, fx * gy, fx * fy
    return a * gz, a * fz, b * gz, b * fz, c * gz, c * fz, d * gz, d * fz


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def read_corners(row: np.ndarray, at: tuple[int, ...], lane: int) -> Corners:
    """One channel of the corners."""
    o = uintp(lane)
    return (
        row[at[0] + o],
        row[at[1] + o],
        row[at[2] + o],
        row[at[3] + o],
        row[at[4] + o],
        row[at[5] + o],
        row[at[6] + o],
        row[at[7] + o],
    )


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def blend(real: Any, corners: Corners, fx: float, fy: float, fz: float) -> float:
    """Trilinear value of eight corners."""
    a, b, c, d, e, f, g, h = corners
    gx, gy, gz = real(1) - fx, real(1) - fy, real(1) - fz
    low = gy * (gz * a + fz * b) + fy * (gz * c + fz * d)
    high = gy * (gz * e + fz * f) + fy * (gz * g + fz * h)
    return gx * low + fx * high


@njit(cache=True, fastmath={"contract"}, nogil=True, error_model="numpy")
def slopes(real: Any, corners: Corners, fx: float, fy: float, fz: float) -> tuple[float, float, float]:
    """Derivatives of ``blend`` by (fx, fy, fz)."""
    a, b, c, d, e, f, g, h = corners
    gx, gy, gz = real(1) - fx, real(1) - fy, real(1) - fz
    ab, cd, ef, gh = gz * a + fz * b, gz * c + fz * d, gz * e + fz * f, gz * g + fz * h
    by_x = gy * (ef - ab) + fy * (gh - cd)
    by_z = gx * (gy * (b - a) + fy * (d - c)) + fx * (gy * (f - e) + fy * (h - g))
    return by_x, gx * (cd - ab) + fx * (gh - ef), by_z
