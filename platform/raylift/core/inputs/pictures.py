"""Opens images by their headers: size and format are checked before a pixel is decoded."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from raylift.core.errors import DataError
from raylift.core.inputs import limits

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
TEXTURE_FORMATS = (*FORMATS, "TGA", "GIF", "DDS", "PPM")
"""Formats of textures. Pillow would also read PostScript, which it hands to an interpreter."""
READ_ERRORS = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for files that are damaged or hostile; ``UnidentifiedImageError`` is an OSError."""

SMALLER = "make it smaller"


def open_picture(
    data: bytes,
    name: str,
    max_pixels: int = limits.PICTURE_PIXELS,
    max_side: int | None = None,
    remedy: str = SMALLER,
    formats: tuple[str, ...] = FORMATS,
) -> Image.Image:
    """An image whose pixels are not decoded yet: ``load`` and ``convert`` do that, and raise ``READ_ERRORS``.

    Args:
        data: content of the file.
        name: of the file, for errors.
        max_pixels: limit on width x height.
        max_side: limit on the longer of both.
        remedy: for an image that is too large.
        formats: Pillow's names of the formats that are read.

    Raises:
        DataError: empty, damaged, another format, or larger than a limit.
    """
    if not data:
        raise DataError(f"{name} is an empty file", "copy it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limits follow
            picture = Image.open(io.BytesIO(data), formats=formats)
    except UnidentifiedImageError:
        raise DataError(f"{name} cannot be read: its format is not known", "use a PNG, JPEG or WebP file") from None
    except Image.DecompressionBombError:
        raise DataError(f"{name} has more pixels than the limit of {max_pixels / 1e6:.0f} million", remedy) from None
    except READ_ERRORS as error:
        raise DataError(f"{name} cannot be read: {error}", "copy or save it again") from None
    refuse_picture(picture, name, max_pixels, max_side, remedy)
    return picture


def refuse_picture(
    picture: Image.Image, name: str, max_pixels: int, max_side: int | None = None, remedy: str = SMALLER
) -> None:
    """Refuse an image, opened but not decoded, that is larger than a limit.

    Raises:
        DataError: it is; names the image, its size and the limit.
    """
    width, height = picture.size
    if width * height > max_pixels:
        limit = f"the limit of {max_pixels / 1e6:.0f} million"
        raise DataError(f"{name} has {width} x {height} pixels, more than {limit}", remedy)
    if max_side is not None and max(width, height) > max_side:
        limit = f"the limit of {max_side:,} along an edge"
        raise DataError(f"{name} has {width} x {height} pixels, more than {limit}", remedy)


def texture_pixels(data: bytes, name: str) -> int:
    """Number of pixels of a texture, by its header; 0 for what is no image, such as a material file.

    Raises:
        DataError: an image of another format, or one larger than the limit on textures.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        return 0
    except READ_ERRORS as error:
        raise DataError(f"{name} cannot be read: {error}", "save the texture again, or make it smaller") from None
    if picture.format not in TEXTURE_FORMATS:
        raise DataError(f"{name} is a texture in the format {picture.format}", "use a PNG or JPEG file")
    refuse_picture(picture, name, limits.TEXTURE_PIXELS, remedy="make the texture smaller")
    return picture.width * picture.height
