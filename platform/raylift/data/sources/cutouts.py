"""A folder tree of cut-out images: alpha is the silhouette, the first folder level the category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.image_reading import (
    IMAGE_SUFFIXES,
    caption_of,
    cutout,
    find_images,
    read_picture,
    sentence_beside,
    suffixes_in,
    words_of,
)
from raylift.data.sources.mesh_reading import MESH_SUFFIXES, file_stamp
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations


@source("cutouts", delivers="images", help="cut-out images (RGBA) in any folder tree", last=True)
@dataclass(frozen=True)
class CutoutsSource:
    """PNG, WebP and other images with alpha under a folder.

    ``birds/snowy_owl.png`` has category "birds" and name "snowy owl"; ``birds/snowy_owl.txt`` next to it holds its
    caption.
    """

    path: Path
    kind: str = "cutouts"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with images and no mesh: textures of meshes are images too."""
        return bool(suffixes_in(path) & set(IMAGE_SUFFIXES)) and not suffixes_in(path) & set(MESH_SUFFIXES)

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        files = find_images(self.path)
        if not files:
            raise DataError(f"found no image under {self.path}", f"use files ending in {', '.join(IMAGE_SUFFIXES)}")
        return [
            ImageItem(
                id=f"{self.kind}/{file.as_posix()}",
                name=words_of(file.stem),
                category=file.parts[0] if len(file.parts) > 1 else "unknown",
                reference=file.as_posix(),
                stamp=file_stamp(self.path / file),
                caption=sentence_beside(self.path / file),
            )
            for file in files
        ]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        picture = read_picture(self.path, item.reference, max_bytes, max_pixels)
        return LoadedImage(cutout(picture, item.reference), caption_of(item.caption, item.name))
