"""PASCAL3D+'s annotation files, and the places in its release."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from raylift.core.errors import DataError
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.sources.array_archives import read_matlab
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.posed_images import PosedImage
from raylift.data.sources.posed_objects import PosedPhoto, number, object_of

RELEASE = "PASCAL3D+_release1.1"
_MAX_BYTES = 1 << 20
_VIEWPOINT = "viewpoint"


def is_release(path: Path) -> bool:
    """Whether a folder is an unpacked release of PASCAL3D+."""
    return all((path / name).is_dir() for name in ("Images", "Annotations", "CAD"))


def find_release(places: list[Path]) -> Path:
    """The release among some places, or in a folder of its published name inside of them.

    Raises:
        DataError: none of them.
    """
    for place in places:
        for folder in (place, place / RELEASE):
            if is_release(folder):
                return folder
    raise DataError(
        f"there is no {RELEASE} in {' or '.join(str(place) for place in places)}",
        "name its folder, with Images/, Annotations/ and CAD/, after a comma",
    )


def read_photo(path: Path) -> PosedPhoto:
    """The objects of a .mat file of PASCAL3D+ or OOD-CV.

    Raises:
        DataError: missing, damaged, or without a record of objects.
    """
    record = read_matlab(path, "record", _MAX_BYTES)
    if not isinstance(record, dict) or "objects" not in record:
        raise DataError(f"{path.name} has no record of objects", "download the data set again")
    objects = record["objects"] if isinstance(record["objects"], list) else [record["objects"]]
    return PosedPhoto(
        tuple(
            object_of(one, _viewpoint_of(one), "degrees", one_based=True) for one in objects if isinstance(one, dict)
        ),
        _size_of(record.get("imgsize")),
    )


def _viewpoint_of(annotation: dict[str, Any]) -> dict[str, Any]:
    found = annotation.get(_VIEWPOINT)
    return found if isinstance(found, dict) else {}


def _size_of(values: Any) -> tuple[int, int] | None:
    """Width and height of ``imgsize``; None if it is not stated."""
    if not isinstance(values, list) or len(values) < 2:
        return None
    width, height = number(values[0]), number(values[1])
    return None if not width or not height else (int(width), int(height))


def names_of(file: Path) -> list[str]:
    """The image names of a list file, one per line, without suffixes; none if the file is missing."""
    if not file.is_file():
        return []
    refuse_large_file(file)
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}", "download the data set again") from error
    names = [line.split()[0] for line in lines if line.split()]
    for name in names:
        if not re.fullmatch(r"[\w.+&-]+", name):
            raise DataError(f"{file} lists {name!r}, which is not an image's name", "download the data set again")
    return list(dict.fromkeys(name.removesuffix(".JPEG").removesuffix(".jpg") for name in names))


def annotated_image(
    release: Path, subset: str, name: str, image_id: str, category: str, split: str, only: int | None = None
) -> PosedImage:
    """An image of the release by its place: ``Images/SUBSET/NAME.JPEG`` and ``Annotations/SUBSET/NAME.mat``.

    Args:
        release: folder of PASCAL3D+.
        subset: ``CATEGORY_imagenet`` or ``CATEGORY_pascal``.
        name: name of the image.
        image_id, category, split, only: see ``PosedImage``.
    """
    suffix = "JPEG" if subset.endswith("_imagenet") else "jpg"
    reference = f"Images/{subset}/{name}.{suffix}"
    annotation = release / "Annotations" / subset / f"{name}.mat"
    photo, problem = read_or_reason(annotation)
    stamp = f"{file_stamp(release / reference)} {file_stamp(annotation)}"
    return PosedImage(image_id, category, reference, split, stamp, photo, problem, only)


def read_or_reason(path: Path) -> tuple[PosedPhoto, str]:
    """The annotation and an empty text, or an empty annotation and why it cannot be read."""
    return _read_once(path, file_stamp(path))


@lru_cache(maxsize=1 << 15)
def _read_once(path: Path, stamp: str) -> tuple[PosedPhoto, str]:
    """Cached, because all levels of occlusion have the annotations of the same few thousand images."""
    try:
        return read_photo(path), ""
    except DataError as error:
        return PosedPhoto(()), f"{error.problem} ({error.remedy})"
