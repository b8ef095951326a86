"""What a program may pass as an image: a path, a Pillow image or an array."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.data.feed.image_folder import InputImage, format_camera, make_input, read_image
from raylift.data.feed.photographs import PixelBox

Photo: TypeAlias = "str | Path | Image.Image | np.ndarray"
GivenCamera: TypeAlias = "Camera | Mapping[str, Any]"

_ARRAYS = "pass uint8 [H, W], [H, W, 3] or [H, W, 4], or floats in [0, 1] of these shapes; several images as a list"


def input_image(
    photo: Photo,
    background: bool,
    camera: GivenCamera | None = None,
    depth: np.ndarray | None = None,
    box: PixelBox | None = None,
) -> InputImage:
    """The input that a job would read from a file.

    Args:
        photo: a path, whose sidecar files are read; or the pixels.
        background, box: see ``data.feed.image_folder.make_input``.
        camera: instead of a sidecar's.
        depth: [H, W], z in world units, 0 where missing; instead of a sidecar's.

    Raises:
        DataError: an image, a camera or a depth that cannot be used.
    """
    picture: bytes | Image.Image
    if isinstance(photo, str | Path):
        path = Path(photo).expanduser()
        if path.is_dir():
            raise DataError(f"{path} is a folder", "pass its images as a list")
        if camera is None and depth is None:
            return read_image(path, background, box)
        name, picture = path.stem, _open_file(path)
    elif isinstance(photo, Image.Image):
        name, picture = Path(str(getattr(photo, "filename", "") or "image")).stem, photo
    elif isinstance(photo, np.ndarray):
        name, picture = "image", _picture_of(photo)
    else:
        raise DataError(f"an image of type {type(photo).__name__}", "pass a path, a Pillow image or a NumPy array")
    text = None if camera is None else format_camera(camera) if isinstance(camera, Camera) else json.dumps(dict(camera))
    return make_input(name, picture, text, None if depth is None else _stored(depth), background, box)


def _open_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the file and its permissions") from None


def _picture_of(pixels: np.ndarray) -> Image.Image:
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise DataError(f"an array of shape {pixels.shape} is not an image", _ARRAYS)
    if np.issubdtype(pixels.dtype, np.floating):
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise DataError("an image of floats outside of [0, 1]", _ARRAYS)
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"an image of {pixels.dtype} values", _ARRAYS)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _stored(depth: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, np.asarray(depth, np.float32), allow_pickle=False)
    return content.getvalue()
