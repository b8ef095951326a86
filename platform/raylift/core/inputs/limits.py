"""The limits on what is read from outside. Users can raise those that name an option; the others fit any real file."""

from __future__ import annotations

import stat
from pathlib import Path

from raylift.core.errors import DataError

MIB = 1 << 20

# --- images and depths to reconstruct, from a folder or sent to a served model ---
INPUT_BYTES = 128 * MIB
"""Size of an image or depth file."""
INPUT_PIXELS = 64_000_000
"""Pixels of an image: a telephone's 50 megapixels fit; models see a thousandth of them."""
INPUT_SIDE_PX = 10_000
"""Longest edge of an image, which is padded to a square."""
CAMERA_BYTES = 1 * MIB
"""Size of a camera's JSON."""
SERVED_RESOLUTION = 512
"""Cells per edge of the surface grid that a served model's client may ask for."""

# --- sources of data sets ---
PICTURE_PIXELS = 100_000_000
"""Pixels of an image, unless ``--max-megapixels`` says otherwise; also of an image in a prepared data set."""
WINDOW_PX = 20_000
"""Longest edge of an image of a source, and side of the square around an object in it."""
CAPTION_BYTES = 1 * MIB
"""Size of a caption's file."""
MAP_BYTES = 512 * MIB
"""Size of a file of part maps, and of the array in it."""
ANNOTATION_BYTES = 2048 * MIB
"""Size of a JSON or text file of annotations for a whole data set: COCO's largest has 470 MB."""
CATALOGUE_BYTES = 64 * MIB
"""Size of the catalogue of a furniture library, unpacked."""

# --- meshes (their files: ``--max-file-mib``) ---
MESH_ELEMENTS = 20_000_000
"""Triangles of an object, and vertices, each copy of an instance counted."""
TEXTURE_PIXELS = 8192 * 8192
"""Pixels of a texture."""
TEXTURES_PIXELS = 4 * TEXTURE_PIXELS
"""Pixels of all textures of an object."""
MESH_FILES = 1000
"""Files that a mesh may refer to."""

# --- archives ---
ARCHIVE_MEMBERS = 200_000
"""Members of a zip or tar archive."""
ARCHIVE_BYTES = 16_384 * MIB
"""Size of all members of a zip archive, unpacked."""
MEMBER_RATIO = 200
"""Unpacked size of a member relative to its packed one, if it is larger than ``RATIO_FROM_BYTES``."""
RATIO_FROM_BYTES = 32 * MIB
PACKAGE_BYTES = 1024 * MIB
"""Size of a package of weights, unpacked."""


def refuse_above(limit: float, found: float, what: str, unit: str, remedy: str, verb: str = "has") -> None:
    """Refuse more than a limit.

    Args:
        limit, found: in ``unit``.
        what: what is too large, such as "chair.png", the subject of ``verb``.
        unit: plural, such as "pixels".
        remedy: what the user can do.

    Raises:
        DataError: ``found`` is above ``limit``; names both.
    """
    if found > limit:
        raise DataError(f"{what} {verb} {_number(found)} {unit}, more than the limit of {_number(limit)}", remedy)


def refuse_large(size: int, limit: int, name: str, remedy: str, verb: str = "has") -> None:
    """Refuse a file or array of more bytes than a limit, in MiB for the reader.

    Raises:
        DataError: it is larger; names the file and the limit.
    """
    refuse_above(limit / MIB, size / MIB, name, "MiB", remedy, verb)


def refuse_large_file(path: Path, limit: int = ANNOTATION_BYTES) -> None:
    """Refuse to read a file that is too large; one that is missing is left to its reader.

    Raises:
        DataError: it is larger than the limit.
    """
    if path.is_file():
        refuse_large(path.stat().st_size, limit, str(path), "check that it is the right file, or split it")


def read_file(path: Path, max_bytes: int, remedy: str) -> bytes:
    """The content of a file, if it is no larger than a limit.

    Raises:
        DataError: it cannot be read, is larger, or is no regular file (a pipe never ends).
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{path} is not a regular file", "pass a file")
        refuse_large(status.st_size, max_bytes, path.name, remedy)
        with path.open("rb") as stream:
            return stream.read(status.st_size)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "check the file and its permissions") from None


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"
