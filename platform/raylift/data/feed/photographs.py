"""Frames photographs without a mask, for models that find an object in front of its background.

A photograph is cut to its largest centred square, or to a square around a box that the user gives. In images that such
models train on, objects are near the centre, and about 0.6 of a square's side (``data.scenes.poses``).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from raylift.core.errors import DataError

BOX_FILL = 0.6
"""Longer edge of a box, as a fraction of the side of the square around it."""
PixelBox = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


def framed_photograph(name: str, picture: Image.Image, box: PixelBox | None = None) -> tuple[np.ndarray, str]:
    """A square of a photograph; all of it is covered, because nothing is known of its object.

    The square around a box may be larger than the photograph, whose edge pixels then continue.

    Args:
        name: of the image, for errors.
        picture: turned as its EXIF data says.
        box: around the object.

    Returns:
        uint8 [S, S, 4], and how it was framed.

    Raises:
        DataError: a box without area, or outside of the photograph.
    """
    rgba = np.array(ImageOps.exif_transpose(picture).convert("RGB").convert("RGBA"))
    height, width = rgba.shape[:2]
    if box is None:
        side = min(height, width)
        note = "the whole photograph" if height == width else f"the middle {side} x {side} of {width} x {height} pixels"
        return _window(rgba, (width - side) // 2, (height - side) // 2, side), note
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            f"box {left} {top} {right} {bottom} does not fit image {name}, which is {width} x {height}",
            "give left, top, right and bottom in pixels, within the image",
        )
    side = max(2, round(max(right - left, bottom - top) / BOX_FILL))
    corner = (left + right - side) // 2, (top + bottom - side) // 2
    return _window(rgba, *corner, side), f"{side} x {side} pixels around the box"


def _window(rgba: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of an image, whose edge pixels continue beyond it."""
    rows, columns = (np.arange(start, start + side) for start in (top, left))
    height, width = rgba.shape[:2]
    return rgba[rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)[None]]
