"""Texture pyramids in one flat array, and compiled lookups: bilinear within a level, linear between levels.

Without the pyramid a texture of 2048 pixels seen at 64 is sampled at random texels, and neighbouring views disagree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from raylift.core.errors import DataError


class TextureAtlas(NamedTuple):
    """All materials' textures, each followed by half, quarter, ... sizes (Williams 1983).

    Attributes:
        texels: uint8, flat.
        first: int64 [M, L]: where level l of material m starts.
        height, width: int64 [M, L].
        num_levels: int64 [M]; 0 where a material has no texture.
        base_color: float64 [M, 3].
    """

    texels: np.ndarray
    first: np.ndarray
    height: np.ndarray
    width: np.ndarray
    num_levels: np.ndarray
    base_color: np.ndarray


def build_atlas(
    textures: list[np.ndarray | None], base_colors: list[tuple[float, float, float]], max_texels: int = 1 << 27
) -> TextureAtlas:
    """Stack textures and their pyramids.

    Args:
        textures: uint8 [H, W, 3] each, or None; one array that several materials share is stored once.

    Raises:
        DataError: a texture that is not uint8 RGB, or more texels than fit in memory.
    """
    shapes: list[list[tuple[int, int]]] = []
    for index, texture in enumerate(textures):
        if texture is None:
            shapes.append([])
            continue
        if texture.dtype != np.uint8 or texture.ndim != 3 or texture.shape[2] != 3 or texture.size == 0:
            raise DataError(
                f"the texture of material {index} is {texture.dtype} {texture.shape}", "use uint8 RGB, [H, W, 3]"
            )
        levels = [(texture.shape[0], texture.shape[1])]
        while max(levels[-1]) > 1:
            levels.append((max(1, levels[-1][0] // 2), max(1, levels[-1][1] // 2)))
        shapes.append(levels)
    depth = max((len(levels) for levels in shapes), default=0)
    first, height, width = (np.zeros((len(textures), max(depth, 1)), np.int64) for _ in range(3))
    end = 0
    stored: dict[int, int] = {}
    for index, (texture, levels) in enumerate(zip(textures, shapes, strict=True)):
        twin = stored.setdefault(id(texture), index)
        for level, (rows, columns) in enumerate(levels):
            height[index, level], width[index, level] = rows, columns
            if twin != index:
                first[index, level] = first[twin, level]
                continue
            first[index, level] = end
            end += rows * columns * 3
    if end > 3 * max_texels:
        raise DataError(f"the textures of one scene have {end // 3} texels", "shrink the textures")
    texels = np.empty(end, np.uint8)
    for texture in {id(texture): texture for texture in textures if texture is not None}.values():
        index = stored[id(texture)]
        rows, columns = height[index, 0], width[index, 0]
        texels[first[index, 0] : first[index, 0] + rows * columns * 3] = np.ascontiguousarray(texture).ravel()
        for level in range(1, len(shapes[index])):
            _halve(texels, first[index], height[index], width[index], level)
    return TextureAtlas(
        texels,
        first,
        height,
        width,
        np.array([len(levels) for levels in shapes], np.int64),
        np.array(base_colors, np.float64).reshape(len(textures), 3),
    )


@njit(cache=True, fastmath=False, nogil=True)
def _halve(texels: np.ndarray, first: np.ndarray, height: np.ndarray, width: np.ndarray, level: int) -> None:
    source, target = first[level - 1], first[level]
    source_rows, source_columns = height[level - 1], width[level - 1]
    for row in range(height[level]):
        top, bottom = min(2 * row, source_rows - 1), min(2 * row + 1, source_rows - 1)
        for column in range(width[level]):
            left, right = min(2 * column, source_columns - 1), min(2 * column + 1, source_columns - 1)
            for c in range(3):
                total = 2
                total += texels[source + (top * source_columns + left) * 3 + c]
                total += texels[source + (top * source_columns + right) * 3 + c]
                total += texels[source + (bottom * source_columns + left) * 3 + c]
                total += texels[source + (bottom * source_columns + right) * 3 + c]
                texels[target + (row * width[level] + column) * 3 + c] = total // 4


@njit(cache=True, fastmath=False, nogil=True)
def _bilinear(
    texels: np.ndarray, first: int, rows: int, columns: int, u: float, v: float
) -> tuple[float, float, float]:
    x = u * columns - 0.5
    y = (1.0 - v) * rows - 0.5
    left, top = np.floor(x), np.floor(y)
    across, down = x - left, y - top
    # u and v were wrapped into [0, 1], so one step beyond either end is all that can happen.
    j0 = (int(left) + columns) % columns
    j1 = (j0 + 1) % columns
    i0 = (int(top) + rows) % rows
    i1 = (i0 + 1) % rows
    a, b = first + (i0 * columns + j0) * 3, first + (i0 * columns + j1) * 3
    c, d = first + (i1 * columns + j0) * 3, first + (i1 * columns + j1) * 3
    wa, wb, wc, wd = (1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down
    return (
        wa * texels[a] + wb * texels[b] + wc * texels[c] + wd * texels[d],
        wa * texels[a + 1] + wb * texels[b + 1] + wc * texels[c + 1] + wd * texels[d + 1],
        wa * texels[a + 2] + wb * texels[b + 2] + wc * texels[c + 2] + wd * texels[d + 2],
    )


@njit(cache=True, fastmath=False, nogil=True)
def sample_texture(
    texels: np.ndarray,
    first: np.ndarray,
    height: np.ndarray,
    width: np.ndarray,
    num_levels: int,
    u: float,
    v: float,
    level: float,
) -> tuple[float, float, float]:
    """RGB in [0, 1] at (u, v), (0, 0) the bottom-left corner, repeated outside of [0, 1]^2.

    Args:
        first, height, width: one material's rows of the atlas.
        level: 0 is the full texture; fractions mix two levels.
    """
    if not (np.isfinite(u) and np.isfinite(v)):
        u, v = 0.0, 0.0
    u, v = u - np.floor(u), v - np.floor(v)
    level = min(max(level, 0.0), num_levels - 1.0)
    low = int(level)
    share = level - low
    r, g, b = _bilinear(texels, first[low], height[low], width[low], u, v)
    if share > 0.0:
        r1, g1, b1 = _bilinear(texels, first[low + 1], height[low + 1], width[low + 1], u, v)
        r, g, b = r + share * (r1 - r), g + share * (g1 - g), b + share * (b1 - b)
    return r / 255.0, g / 255.0, b / 255.0
