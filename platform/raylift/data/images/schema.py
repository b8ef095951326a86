"""The table of an image collection: columns, units, version. One row per image, one row per row group."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.inputs.pictures import open_picture

IMAGE_SCHEMA_VERSION = 3
"""Version 3 added ``amodal_png`` and ``has_background``; version 2 is still read."""

IMAGE_PAYLOAD_VERSION = 2
"""Incremented when the same image and settings produce a different row, so that old shards are not reused."""

IMAGE_TEXTS = ("id", "name", "category", "caption", "licence", "creator", "source", "truth", "truth_data", "notes")


def images_schema() -> pa.Schema:
    """The images table. A cell is empty if the image lacks that annotation."""

    def vector(name: str, kind: pa.DataType, size: int, unit: str) -> pa.Field:
        return pa.field(name, pa.list_(kind, size), nullable=False, metadata={"unit": unit})

    def data(name: str, unit: str) -> pa.Field:
        return pa.field(name, pa.binary(), nullable=False, metadata={"unit": unit})

    normalised = "normalised image coordinates of the stored square"
    return pa.schema(
        [
            *(pa.field(name, pa.string(), nullable=False) for name in IMAGE_TEXTS),
            data("rgba_png", "sRGB and coverage of what is visible, 8 bit, not premultiplied, square"),
            pa.field(
                "has_background",
                pa.bool_(),
                nullable=False,
                metadata={"unit": "whether the colours around the object are a photograph's"},
            ),
            data("amodal_png", "coverage of the whole object, hidden parts included, 8 bit, over the stored square"),
            vector("original_size", pa.int32(), 2, "pixels: width, height"),
            vector("crop_box", pa.float32(), 4, "pixels of the original: left, top, right, bottom of the square"),
            vector("object_box", pa.float32(), 4, f"{normalised}: left, top, right, bottom of the object"),
            data("keypoints", f"float32 [K, 3]: u, v in {normalised}, 1 where visible"),
            data("parts_png", "8 bit, part maps [P, h, w] over the stored square, one below the other; labels: P = 1"),
            data(
                "camera",
                "float32 [16]: focal (2, half image sizes), principal (2), rotation (9, world to OpenCV axes, row "
                "by row), translation (3, the longest edge of the object's bounding box is 1)",
            ),
            pa.field("projection", pa.string(), nullable=False),
        ],
        metadata={"raylift.table": "images", "raylift.schema_version": str(IMAGE_SCHEMA_VERSION)},
    )


def png_bytes(pixels: np.ndarray) -> bytes:
    """Encode uint8 [H, W] or [H, W, 4] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def pack_parts(maps: np.ndarray) -> bytes:
    """Encode part maps, uint8 [P, h, h], as one PNG."""
    return png_bytes(np.ascontiguousarray(maps.reshape(-1, maps.shape[-1])))


def unpack_parts(data: bytes) -> np.ndarray:
    """Decode part maps, uint8 [P, h, h].

    Raises:
        DataError: the maps are not square.
    """
    pixels = np.asarray(open_picture(data, "a stored part map"))
    side = pixels.shape[1]
    if pixels.ndim != 2 or pixels.shape[0] % side:
        raise DataError(f"part maps of {pixels.shape} pixels are not square", "write the part maps again")
    return pixels.reshape(-1, side, side)
