"""Textures that any viewer shows without a seam: padded at their borders, and dilated around their charts.

A reconstruction's texture is a spherical map: faces across the back have coordinates beyond 0 or 1, and wrap around to
the other side; at the poles faces leave gaps. Viewers differ in how they continue a texture beyond its border, and all
average neighbouring texels at a distance (mipmaps), gaps included. So the written texture holds everything that is
sampled: coordinates are within [0, 1], at least ``PADDING`` texels from the border, and texels that no face shows have
the colour of the nearest shown texel.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation, distance_transform_edt

PADDING = 8
"""Texels around everything that is sampled: enough for the first three mipmap levels."""
MOST_BEYOND = 0.5
"""Coordinates further beyond [0, 1] than this repeat a texture on purpose, like a tiled floor."""


def pad_texture(
    texture: UInt8[np.ndarray, "H W 3"], corner_uvs: Float[np.ndarray, "F 3 2"]
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "F 3 2"]]:
    """A larger texture, with coordinates into it, that looks the same and needs nothing beyond its border.

    If faces cross u = 0 or 1, the texture wraps around there; elsewhere it is extended with the nearest texel that is
    shown. Tiled textures (coordinates far beyond [0, 1]) and those with v beyond [0, 1] are returned unchanged.

    Args:
        texture: first row on top.
        corner_uvs: (0, 0) bottom-left.
    """
    height, width = texture.shape[:2]
    low, high = corner_uvs.min(axis=(0, 1)), corner_uvs.max(axis=(0, 1))
    tiled = low[0] < -MOST_BEYOND or high[0] > 1 + MOST_BEYOND or low[1] < 0 or high[1] > 1
    if tiled or not np.isfinite(corner_uvs).all():
        return texture, corner_uvs
    left, right = (PADDING + math.ceil(max(0.0, beyond) * width) for beyond in (-low[0], high[0] - 1))
    crosses = low[0] < 0 or high[0] > 1
    columns = np.arange(-left, width + right)
    columns = columns % width if crosses else columns.clip(0, width - 1)
    rows = np.arange(-PADDING, height + PADDING).clip(0, height - 1)
    padded = texture[rows[:, None], columns[None]]
    size = np.array([left + width + right, height + 2 * PADDING])
    moved = (corner_uvs * (width, height) + (left, PADDING)) / size
    return _dilated(padded, moved), moved.astype(corner_uvs.dtype)


def _dilated(texture: np.ndarray, corner_uvs: np.ndarray) -> np.ndarray:
    """Texels that no face samples, not even bilinearly, take the colour of the nearest sampled texel."""
    height, width = texture.shape[:2]
    read = Image.new("1", (width, height))
    draw = ImageDraw.Draw(read)
    corners = np.stack([corner_uvs[..., 0] * width - 0.5, (1 - corner_uvs[..., 1]) * height - 0.5], axis=-1)
    for triangle in corners:
        draw.polygon(triangle.ravel().tolist(), fill=1, outline=1)
    # Bilinear sampling reads the texels on both sides of a point, and the polygons' corners were rounded.
    known = binary_dilation(np.asarray(read), np.ones((3, 3), bool))
    if known.all() or not known.any():
        return texture
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    dilated: np.ndarray = texture[tuple(nearest)]
    return dilated
