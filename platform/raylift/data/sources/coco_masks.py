"""Decodes COCO's three segmentation formats to masks: polygons, run lengths, and run lengths packed in a string."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import UInt8
from skimage.draw import polygon as polygon_pixels

from raylift.core.errors import DataError

_REMEDY = "fix the annotation, or remove it"


def decode_segmentation(segmentation: Any, height: int, width: int) -> UInt8[np.ndarray, "H W"]:
    """Decode a segmentation to coverage, 0 or 255.

    Args:
        segmentation: polygons ``[[x, y, x, y, ...], ...]`` (their union), or run lengths ``{"size": [H, W], "counts":
            [...] or "..."}``.
        height, width: image size, pixels.

    Raises:
        DataError: another format, or it does not fit the image.
    """
    if isinstance(segmentation, list):
        return _polygons(segmentation, height, width)
    if not isinstance(segmentation, dict) or "counts" not in segmentation:
        raise DataError("its segmentation is neither polygons nor run lengths", _REMEDY)
    if list(segmentation.get("size", [])) != [height, width]:
        raise DataError(
            f"its run lengths are for {segmentation.get('size')} pixels, but the image is {[height, width]}", _REMEDY
        )
    counts = segmentation["counts"]
    return _runs(unpack_counts(counts) if isinstance(counts, (str, bytes)) else counts, height, width)


def _polygons(polygons: list[Any], height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    for corners in polygons:
        try:
            points = np.asarray(corners, np.float64)
        except (TypeError, ValueError):
            points = np.zeros(0)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
            raise DataError("one of its polygons is not a list of three or more points", _REMEDY)
        # Coordinates count from the corner of the first pixel; a pixel is covered if its centre is inside.
        rows, columns = polygon_pixels(points[1::2] - 0.5, points[::2] - 0.5, mask.shape)
        mask[rows, columns] = 255
    return mask


def _runs(counts: Any, height: int, width: int) -> np.ndarray:
    """Decode run lengths, which start with 0 and run down the columns."""
    try:
        runs = np.asarray(counts, np.int64)
    except (TypeError, ValueError, OverflowError):
        runs = np.array([-1])
    if runs.ndim != 1 or (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise DataError(f"its run lengths do not add up to {height} x {width} pixels", _REMEDY)
    values = np.arange(len(runs)) % 2 * 255
    return np.repeat(values.astype(np.uint8), runs).reshape(width, height).T


def unpack_counts(text: str | bytes) -> list[int]:
    """The run lengths of a packed string.

    Each number is written in groups of five bits, the lowest first, each as the character 48 + bits, with bit 5 set in
    all groups but the last; bit 4 of the last is the sign. From the fourth number on, the difference to the
    second-last number is written.

    Raises:
        DataError: an invalid character, or an unfinished number.
    """
    data = text.encode("ascii", "replace") if isinstance(text, str) else text
    counts: list[int] = []
    value, shift = 0, 0
    for byte in data:
        group = byte - 48
        if not 0 <= group < 64 or shift > 60:
            raise DataError("its packed run lengths contain an invalid character", _REMEDY)
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise DataError("its packed run lengths end in the middle of a number", _REMEDY)
    return counts
