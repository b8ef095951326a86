"""Reads image files, and rejects those without a usable silhouette."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.pictures import READ_ERRORS, open_picture

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def suffixes_in(folder: Path) -> set[str]:
    """The suffixes of all files under a folder, in lower case; empty if it is not a folder."""
    return {child.suffix.lower() for child in folder.rglob("*")} if folder.is_dir() else set()


def find_images(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[Path]:
    """All images under a folder, relative to it, sorted; hidden ones are left out.

    Raises:
        DataError: not a folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "pass a folder of images")
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    return sorted(path for path in found if not any(part.startswith(".") for part in path.parts))


def read_picture(root: Path, relative: str, max_bytes: int, max_pixels: int, upright: bool = True) -> Image.Image:
    """Read and decode a file under ``root``.

    Args:
        upright: whether to apply the EXIF orientation; False if annotations refer to the stored pixels.

    Raises:
        DataError: missing, outside of ``root``, too large, or not an image.
    """
    path = root / relative
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{relative} is not a file under {root}", "check the path, or prepare the source again")
    limits.refuse_large(path.stat().st_size, max_bytes, relative, "make it smaller, or raise --max-file-mib")
    return decode(path.read_bytes(), relative, max_pixels, upright)


def decode(data: bytes, name: str, max_pixels: int, upright: bool = True) -> Image.Image:
    """Decode bytes to an image.

    Raises:
        DataError: not an image, damaged, more than ``max_pixels``, or more than eight bits per channel.
    """
    remedy = "make it smaller, or raise --max-megapixels"
    picture = open_picture(data, name, max_pixels, limits.WINDOW_PX, remedy)
    try:
        picture.load()
        if picture.mode[:1] in ("I", "F"):
            raise DataError(f"{name} has more than eight bits per channel", "save it with eight bits per channel")
        turned: Image.Image = ImageOps.exif_transpose(picture) if upright else picture
        return turned
    except READ_ERRORS as error:
        raise DataError(f"{name} cannot be read: {error}", "copy or save it again") from None


def cutout(picture: Image.Image, name: str) -> np.ndarray:
    """uint8 [H, W, 4] of an image whose alpha channel is the silhouette.

    Raises:
        DataError: no alpha, or an alpha that covers everything or nothing.
    """
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        raise DataError(
            f"{name} has no alpha channel, so its silhouette is not known",
            "cut the object out, or provide masks: --source masked:FOLDER",
        )
    rgba = np.array(picture.convert("RGBA"))
    if (rgba[..., 3] > 127).all():
        raise DataError(f"the alpha channel of {name} covers the whole image", "cut the object out")
    return require_silhouette(rgba, name)


def require_silhouette(rgba: np.ndarray, name: str) -> np.ndarray:
    """Return the same image, checked.

    Raises:
        DataError: no pixel is more than half covered.
    """
    if not (rgba[..., 3] > 127).any():
        raise DataError(f"the silhouette of {name} has no area", "check its alpha channel or its mask")
    return rgba


def with_mask(picture: Image.Image, mask: np.ndarray, name: str) -> np.ndarray:
    """uint8 [H, W, 4] of a photograph and its mask.

    Args:
        picture: photograph in any mode.
        mask: uint8 [H, W], coverage.
        name: image name for errors.

    Raises:
        DataError: different sizes, or an empty mask.
    """
    rgb = np.asarray(picture.convert("RGB"))
    if mask.shape != rgb.shape[:2]:
        raise DataError(
            f"the mask of {name} is {mask.shape[1]} x {mask.shape[0]}, its image {rgb.shape[1]} x {rgb.shape[0]}",
            "save both at the same size",
        )
    return require_silhouette(np.concatenate([rgb, mask[..., None]], axis=-1), name)


def gray(picture: Image.Image) -> np.ndarray:
    """Convert a mask image to coverage, uint8 [H, W].

    Masks may be stored as black and white, as gray, as the numbers 0 and 1, as two palette colours, or in alpha.
    """
    if picture.mode == "P":
        # Palette index 0 is the background, whatever its colour.
        return np.where(np.asarray(picture) > 0, 255, 0).astype(np.uint8)
    if "A" in picture.getbands() and np.asarray(picture.getchannel("A")).min() < 255:
        return np.asarray(picture.getchannel("A"))
    values = np.asarray(picture.convert("L"))
    return np.where(values > 0, 255, 0).astype(np.uint8) if values.max(initial=0) == 1 else values


def sentence_beside(file: Path) -> str:
    """The first line of the .txt file next to an image; empty if missing."""
    text = file.with_suffix(".txt")
    if not text.is_file():
        return ""
    limits.refuse_large_file(text, limits.CAPTION_BYTES)
    lines = text.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[0].strip() if lines else ""


def words_of(stem: str) -> str:
    """Split a file's stem into words."""
    return " ".join(stem.replace("_", " ").replace("-", " ").split())


def caption_of(caption: str, name: str) -> str:
    """The caption if given, else "a {name}"."""
    noun = name.strip().lower()
    return caption or f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
