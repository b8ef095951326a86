"""Reads a user's picture, and says what is wrong with one that cannot be used."""

from __future__ import annotations

from pathlib import PurePath

from PIL import Image, ImageOps

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.pictures import FORMATS, READ_ERRORS, open_picture, refuse_picture

_REMEDY = "use a complete PNG, JPEG or WebP file"
_CONTENTS = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an office document",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML document or an SVG drawing",
    b"<!do": "a web page",
    b"<htm": "a web page",
    b"glTF": "a GLB mesh",
    b"\x1f\x8b": "a gzip archive",
}
"""What files begin with that are commonly taken for images."""
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "La", "RGBa")
"""Pillow's modes that are light on a screen, with eight bits per channel."""
_FORMATS = (*FORMATS, "GIF")
_LIMITS = (limits.INPUT_PIXELS, limits.INPUT_SIDE_PX)
_HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc")


def read_picture(name: str, image: bytes | Image.Image, upright: bool) -> Image.Image:
    """A picture, decoded.

    Args:
        name: for errors.
        image: content of a file, or a picture that is already open.
        upright: whether to turn it as its EXIF data says.

    Raises:
        DataError: an empty, damaged or too large file, no image, an animation, other colours than RGB such as CMYK, or
            more than eight bits per channel.
    """
    if isinstance(image, bytes) and (content := _content(image)):
        remedy = "convert it to PNG or JPEG" if "HEIC" in content else _REMEDY
        raise DataError(f"image {name} cannot be read: it is {content}", remedy)
    try:
        if isinstance(image, bytes):
            picture = open_picture(image, f"image {name}", *_LIMITS, formats=_FORMATS)
        else:
            refuse_picture(image, f"image {name}", *_LIMITS)
            picture = image
        # A phone's JPEG may carry previews as further frames (MPO); the first is the photograph.
        frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        picture.load()
        turned: Image.Image = ImageOps.exif_transpose(picture) if upright else picture
    except READ_ERRORS as error:
        raise DataError(f"image {name} cannot be read: {error}", _REMEDY) from None
    if frames > 1:
        raise DataError(f"image {name} has {frames} frames or pages", "save the one to reconstruct as PNG")
    if picture.mode[:1] in ("I", "F"):
        raise DataError(f"image {name} has more than eight bits per channel", "save it with eight bits per channel")
    if picture.mode not in _MODES:
        kind = "printing inks (CMYK)" if picture.mode == "CMYK" else picture.mode
        raise DataError(f"image {name} has the colours of {kind}", "convert it to RGB, then save it")
    return turned


def disguise(file: str, image: bytes) -> str:
    """A note about a file whose suffix names another format than its content; "" otherwise."""
    named = Image.registered_extensions().get(PurePath(file).suffix.lower(), "")
    held = str(open_picture(image, file, *_LIMITS, formats=_FORMATS).format)
    same = {named, held} <= {"JPEG", "MPO"} or named == held
    return "" if same or not named else f"{file} holds a {held} image despite its suffix"


def _content(image: bytes) -> str:
    """What a file is that is commonly taken for an image; "" for anything else."""
    if image[4:12] in _HEIC:
        return "a HEIC photograph, which this program cannot read"
    begin = image[:64].lstrip()[:5].lower()
    return next((text for magic, text in _CONTENTS.items() if begin.startswith(magic.lower())), "")
