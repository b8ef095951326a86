"""Debian's Tux Paint stamps: photographs of animals, fruit and other things, cut out, with captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.debian import PackageFolder, fetch_folder
from raylift.data.sources.image_reading import (
    caption_of,
    cutout,
    find_images,
    read_picture,
    sentence_beside,
    words_of,
)
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

PACKAGE = "tuxpaint-stamps-default"
_INSIDE = Path("usr/share/tuxpaint/stamps")
_REMEDY = (
    f"on another machine: apt-get download {PACKAGE} && dpkg-deb -x {PACKAGE}_*.deb stamps, copy the folder here "
    "and pass --source stamps:stamps; or cut images out yourself and pass --source cutouts:FOLDER"
)

DRAWING_FOLDERS = frozenset({"cartoon", "toys", "alphabets", "shapes", "symbols"})
DRAWINGS = frozenset({"echidna", "hedgehog", "teddy_bear", "tux", "pengwin"})
"""Drawings are in separate folders, except these (checked in animals)."""


def fetch_stamps(cache: Path, timeout_s: float = 600.0) -> Path:
    """The folder of stamps, downloaded (161 MB) and unpacked under ``cache`` unless already there.

    Raises:
        DataError: as ``fetch_folder``.
    """
    return fetch_folder(PackageFolder(PACKAGE, _INSIDE, "*.png", _REMEDY), cache, timeout_s)


@source("stamps", delivers="images", help="photographs with alpha of Debian; stamps:fetch downloads them (161 MB)")
@dataclass(frozen=True)
class StampsSource:
    """The folder of stamps, or of the unpacked package.

    ``animals/mammals/bovines/cow.png`` has category "mammals"; a stamp directly in ``vehicles`` has "vehicles".
    Drawings, and the mirrored copies of some stamps, are left out.
    """

    path: Path
    kind: str = "stamps"

    @staticmethod
    def fetch(cache: Path) -> Path:
        """Debian's package."""
        return fetch_stamps(cache)

    @property
    def folder(self) -> Path:
        inside = self.path / _INSIDE
        return inside if inside.is_dir() else self.path

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        files = [file for file in find_images(self.folder, (".png",)) if not is_drawing(file)]
        if not files:
            raise DataError(f"found no stamp under {self.folder}", _REMEDY)
        return [
            ImageItem(
                id=f"stamps/{file.with_suffix('').as_posix()}",
                name=words_of(file.stem),
                category=file.parts[min(1, len(file.parts) - 2)] if len(file.parts) > 1 else "unknown",
                reference=file.as_posix(),
                licence="GPL-2",
                creator="Tux Paint's contributors",
                stamp=file_stamp(self.folder / file),
                caption=sentence_beside(self.folder / file),
            )
            for file in files
        ]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        picture = read_picture(self.folder, item.reference, max_bytes, max_pixels)
        return LoadedImage(cutout(picture, item.reference), caption_of(item.caption, item.name))


def is_drawing(file: Path) -> bool:
    """Whether a stamp, judged by its path, is a drawing or another's mirror image."""
    return bool(DRAWING_FOLDERS & set(file.parts[:-1])) or file.stem in DRAWINGS or file.stem.endswith("_mirror")
