"""Everything that an image collection stores per image, cut to a square around its object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.inputs.limits import WINDOW_PX, refuse_above
from raylift.data.images.config import ImagesConfig
from raylift.data.images.schema import pack_parts, png_bytes
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.stored_view import Crop, cropped_camera, silhouette_box

_CROP = "crop the image to the object, or fix its box"
Box = tuple[float, float, float, float]


def make_row(
    item: SourceItem, loaded: LoadedImage, source_kind: str, annotations: Annotations, config: ImagesConfig
) -> dict[str, Any]:
    """The row of the images table; a pure function of its arguments.

    Raises:
        DataError: no silhouette, too small an object, or keypoints or parts that do not fit.
    """
    height, width = loaded.rgba.shape[:2]
    box = _object_box(loaded)
    if max(box[2] - box[0], box[3] - box[1]) < config.min_object_px:
        raise DataError(
            f"the object is {box[2] - box[0]:.0f} x {box[3] - box[1]:.0f} pixels", "lower --min-object-px to keep it"
        )
    center, half = _stored_square(loaded, box, config.box_padding)
    window = (center[0] - half, center[1] - half, center[0] + half, center[1] + half)
    with_background = loaded.has_background and config.keep_background
    rgba = _cut(loaded.rgba, window, config.image_px, with_background)
    if not (rgba[..., 3] > 127).any():
        raise DataError(
            f"the silhouette vanishes at {config.image_px} pixels", "it is too thin: raise --image-px, or fix the mask"
        )

    def normalised(x: float, y: float) -> tuple[float, float]:
        return (x - center[0]) / half, (y - center[1]) / half

    row: dict[str, Any] = {
        "id": item.id,
        "name": item.name,
        "category": item.category,
        "caption": loaded.caption,
        "licence": item.licence,
        "creator": item.creator,
        "source": f"{source_kind}:{item.reference}",
        "truth": loaded.truth,
        "truth_data": loaded.truth_data,
        "notes": "; ".join(loaded.notes),
        "rgba_png": png_bytes(rgba),
        "has_background": with_background,
        "amodal_png": _amodal(loaded, window, config.image_px),
        "original_size": [width, height],
        "crop_box": list(window),
        "object_box": [*normalised(box[0], box[1]), *normalised(box[2], box[3])],
        "keypoints": _keypoints(loaded.keypoints, annotations, center, half),
        "parts_png": _parts(loaded.parts, window, config.image_px),
        "camera": b"",
        "projection": "",
    }
    if loaded.camera is not None:
        side = float(max(height, width))
        if height != width:
            raise DataError("an image with a camera is not square", "crop or pad it to a square")
        seen = Crop((2 * center[0] / side - 1, 2 * center[1] / side - 1), 2 * half / side)
        camera = cropped_camera(loaded.camera, seen)
        parts = (camera.focal, camera.principal, camera.rotation.flatten(1), camera.translation)
        row |= {"camera": torch.cat(parts, dim=1).numpy().astype("<f4").tobytes(), "projection": camera.projection}
    return row


def _object_box(loaded: LoadedImage) -> Box:
    """The annotated box, else that of the whole object, else that of its silhouette, in pixels.

    Raises:
        DataError: nothing of the object is visible, or its amodal mask does not fit the image.
    """
    amodal = loaded.amodal
    if amodal is not None:
        if amodal.shape != loaded.rgba.shape[:2] or amodal.dtype != np.uint8:
            raise DataError(
                f"the amodal mask is {amodal.dtype} {amodal.shape} for an image of {loaded.rgba.shape[:2]}",
                "provide coverage of 0 to 255 at the image's size",
            )
        if (amodal > 127).any() and not (loaded.rgba[..., 3] > 127).any():
            raise DataError("the object is wholly hidden", "leave the image out, or fix the mask of its visible part")
    whole = _pixel_box(loaded.rgba[..., 3])
    if amodal is not None and (amodal > 127).any():
        whole = _pixel_box(np.maximum(amodal, loaded.rgba[..., 3]))
    return whole if loaded.box is None else _joined(loaded.box, whole)


def _stored_square(loaded: LoadedImage, box: Box, padding: float) -> tuple[tuple[float, float], float]:
    """Centre and half the side of the square to store, in pixels."""
    window = loaded.window
    if window is None:
        half = max(box[2] - box[0], box[3] - box[1]) * (0.5 + padding)
        return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), half
    left, top, right, bottom = window
    assert right > left, "a window without width"
    assert abs((right - left) - (bottom - top)) < 1e-6 * (right - left), "the window is no square"
    return ((left + right) / 2, (top + bottom) / 2), (right - left) / 2


def _pixel_box(coverage: np.ndarray) -> Box:
    height, width = coverage.shape
    left, top, right, bottom = silhouette_box(coverage)
    return (left + 1) / 2 * width, (top + 1) / 2 * height, (right + 1) / 2 * width, (bottom + 1) / 2 * height


def _joined(given: Box, silhouette: Box) -> Box:
    """The annotated box, or the object's own if the annotated one is invalid or off the object."""
    left, top, right, bottom = given
    overlaps = left < silhouette[2] and right > silhouette[0] and top < silhouette[3] and bottom > silhouette[1]
    return given if np.isfinite(given).all() and left < right and top < bottom and overlaps else silhouette


def _cut(rgba: np.ndarray, window: Box, size_px: int, with_background: bool) -> np.ndarray:
    """A window of an image, averaged over each new pixel's area; outside of the image it is transparent."""
    part, box = _padded_part(rgba, window)
    cut = _resized(part, box, size_px)
    if with_background:
        # Pillow weights RGBA by coverage, which would lose the colours around the object.
        behind = _resized(part[..., :3], box, size_px)
        cut = np.concatenate([np.where(cut[..., 3:] > 0, cut[..., :3], behind), cut[..., 3:]], axis=-1)
    return cut


def _amodal(loaded: LoadedImage, window: Box, size_px: int) -> bytes:
    """The amodal mask, cut like the image; empty if unknown."""
    if loaded.amodal is None:
        return b""
    return png_bytes(_resized(*_padded_part(loaded.amodal, window), size_px))


def _padded_part(pixels: np.ndarray, window: Box) -> tuple[np.ndarray, Box]:
    """The whole pixels under a window, 0 outside of the image, and the window in their coordinates.

    Raises:
        DataError: the window is too large.
    """
    height, width = pixels.shape[:2]
    left, top = int(np.floor(window[0])), int(np.floor(window[1]))
    right, bottom = int(np.ceil(window[2])), int(np.ceil(window[3]))
    # Annotations may claim a box far larger than the image.
    refuse_above(WINDOW_PX, max(bottom - top, right - left), "the square around the object", "pixels", _CROP)
    part = np.zeros((bottom - top, right - left, *pixels.shape[2:]), np.uint8)
    inside = pixels[max(0, top) : min(bottom, height), max(0, left) : min(right, width)]
    row, column = max(0, -top), max(0, -left)
    part[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    return part, (window[0] - left, window[1] - top, window[2] - left, window[3] - top)


def _resized(pixels: np.ndarray, box: Box, size_px: int) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box))


def _keypoints(points: np.ndarray | None, annotations: Annotations, center: tuple[float, float], half: float) -> bytes:
    if points is None:
        return b""
    count = len(annotations.keypoint_names)
    if points.shape != (count, 3):
        raise DataError(
            f"it has {len(points)} keypoints where the data set has {count}", "fix the annotation, or leave it out"
        )
    moved = np.asarray(points, np.float64).copy()
    moved[:, :2] = (moved[:, :2] - center) / half
    seen = (moved[:, 2] > 0) & np.isfinite(moved).all(axis=1)
    return np.where(seen[:, None], moved, 0).astype("<f4").tobytes()


def _parts(parts: np.ndarray | None, window: Box, size_px: int) -> bytes:
    """Part maps of the original image, cut like it; labels and probabilities are both read at the nearest pixel."""
    if parts is None:
        return b""
    _, height, width = parts.shape
    steps = (np.arange(size_px) + 0.5) / size_px
    columns = np.floor(window[0] + steps * (window[2] - window[0])).astype(np.int64)
    rows = np.floor(window[1] + steps * (window[3] - window[1])).astype(np.int64)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    values = parts[:, rows.clip(0, height - 1)[:, None], columns.clip(0, width - 1)[None]]
    return pack_parts(np.where(inside, values, 0).astype(np.uint8))
