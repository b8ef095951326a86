"""Everything that an image collection stores per image, cut to a square around its object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.data.images.config import ImagesConfig
from raylift.data.images.schema import pack_parts, png_bytes
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.stored_view import Crop, cropped_camera, silhouette_box

Box = tuple[float, float, float, float]


def make_row(
    item: SourceItem, loaded: LoadedImage, source_kind: str, annotations: Annotations, config: ImagesConfig
) -> dict[str, Any]:
    """The row of the images table; a pure function of its arguments.

    Raises:
        DataError: no silhouette, too small an object, or keypoints or parts that do not fit.
    """
    height, width = loaded.rgba.shape[:2]
    silhouette = _pixel_box(loaded.rgba)
    box = silhouette if loaded.box is None else _joined(loaded.box, silhouette)
    if max(box[2] - box[0], box[3] - box[1]) < config.min_object_px:
        raise DataError(
            f"the object is {box[2] - box[0]:.0f} x {box[3] - box[1]:.0f} pixels", "lower --min-object-px to keep it"
        )
    half = max(box[2] - box[0], box[3] - box[1]) * (0.5 + config.box_padding)
    center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    window = (center[0] - half, center[1] - half, center[0] + half, center[1] + half)
    rgba = _cut(loaded.rgba, window, config.image_px, loaded.has_background and config.keep_background)
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


def _pixel_box(rgba: np.ndarray) -> Box:
    height, width = rgba.shape[:2]
    left, top, right, bottom = silhouette_box(rgba)
    return (left + 1) / 2 * width, (top + 1) / 2 * height, (right + 1) / 2 * width, (bottom + 1) / 2 * height


def _joined(given: Box, silhouette: Box) -> Box:
    """The annotated box, or the silhouette's own if the annotated one is invalid or off the silhouette."""
    left, top, right, bottom = given
    overlaps = left < silhouette[2] and right > silhouette[0] and top < silhouette[3] and bottom > silhouette[1]
    return given if np.isfinite(given).all() and left < right and top < bottom and overlaps else silhouette


def _cut(rgba: np.ndarray, window: Box, size_px: int, with_background: bool) -> np.ndarray:
    """A window of an image, averaged over each new pixel's area; outside of the image it is transparent."""
    height, width = rgba.shape[:2]
    left, top = int(np.floor(window[0])), int(np.floor(window[1]))
    right, bottom = int(np.ceil(window[2])), int(np.ceil(window[3]))
    part = np.zeros((bottom - top, right - left, 4), np.uint8)
    inside = rgba[max(0, top) : min(bottom, height), max(0, left) : min(right, width)]
    row, column = max(0, -top), max(0, -left)
    part[row : row + inside.shape[0], column : column + inside.shape[1]] = inside
    box = (window[0] - left, window[1] - top, window[2] - left, window[3] - top)

    def resized(pixels: np.ndarray) -> np.ndarray:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box))

    cut = resized(part)
    if with_background:
        # Pillow weights RGBA by coverage, which would lose the colours around the object.
        behind = resized(part[..., :3])
        cut = np.concatenate([np.where(cut[..., 3:] > 0, cut[..., :3], behind), cut[..., 3:]], axis=-1)
    return cut


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
