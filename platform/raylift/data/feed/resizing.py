"""Images and depth maps at another size: colours are averaged over areas, depths are not averaged."""

from __future__ import annotations

import numpy as np
from PIL import Image

from raylift.data.feed.batches import on_white


def resized_rgba(rgba: np.ndarray, image_px: int) -> np.ndarray:
    """Average an image over each new pixel's area, colours weighted by coverage: uint8 [S, S, 4], not premultiplied."""
    return resized_pixels(rgba, image_px)


def resized_pixels(pixels: np.ndarray, image_px: int) -> np.ndarray:
    """The same for any uint8 image: [H, W], [H, W, 3], or [H, W, 4], whose colours are weighted by coverage."""
    picture = Image.fromarray(pixels)
    if picture.size != (image_px, image_px):
        # Pillow weights RGBA by alpha when it resizes; BOX is the exact area mean if the sizes divide.
        divides = picture.width % image_px == 0 and picture.height % image_px == 0
        picture = picture.resize((image_px, image_px), Image.Resampling.BOX if divides else Image.Resampling.BILINEAR)
    return np.asarray(picture)


def composited(rgba: np.ndarray, image_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The resized image on white [3, S, S] and its coverage [1, S, S], float32 in [0, 1].

    Args:
        rgba: uint8 [H, W, 4], colour not premultiplied.
    """
    return on_white(resized_rgba(rgba, image_px))


def nearest_resized(depth: np.ndarray, image_px: int) -> np.ndarray:
    """Depth at the new pixels' centres, from the nearest old pixel: depths are never averaged. float32 [S, S]."""
    height, width = depth.shape
    rows = ((np.arange(image_px) + 0.5) * height / image_px).astype(np.int64)
    columns = ((np.arange(image_px) + 0.5) * width / image_px).astype(np.int64)
    return np.ascontiguousarray(depth[rows[:, None], columns[None]], np.float32)
