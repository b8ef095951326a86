"""A folder of photographs with a folder of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.image_reading import (
    caption_of,
    find_images,
    gray,
    read_picture,
    sentence_beside,
    with_mask,
    words_of,
)
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations


@source("masked", delivers="images", help="images and masks: FOLDER with both, or IMAGES,MASKS")
@dataclass(frozen=True)
class MaskedSource:
    """``images/birds/owl.jpg`` with ``masks/birds/owl.png``: same relative path and stem; white is the object.

    The first folder level under ``images`` is the category, a .txt file next to an image its caption.

    Attributes:
        images: folder of photographs.
        masks: folder of masks.
    """

    images: Path
    masks: Path
    kind: str = "masked"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with ``images`` and ``masks``."""
        return (path / "images").is_dir() and (path / "masks").is_dir()

    @staticmethod
    def open(place: str, seed: int) -> MaskedSource:
        """The source of ``FOLDER`` or ``IMAGES,MASKS``."""
        return MaskedSource.at(place)

    @staticmethod
    def at(place: str) -> MaskedSource:
        """The source of ``FOLDER`` with images/ and masks/ in it, or of ``IMAGES,MASKS``."""
        first, separator, second = place.partition(",")
        folders = (Path(first), Path(second)) if separator else (Path(first) / "images", Path(first) / "masks")
        images, masks = (folder.expanduser().resolve() for folder in folders)
        return MaskedSource(images, masks)

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        for folder in (self.images, self.masks):
            if not folder.is_dir():
                raise DataError(
                    f"{folder} is not a folder", "use --source masked:FOLDER with images/ and masks/, or IMAGES,MASKS"
                )
        files = find_images(self.images)
        if not files:
            raise DataError(f"found no image under {self.images}", "point --source masked:IMAGES,MASKS at images")
        masks = {mask.with_suffix("").as_posix(): mask.as_posix() for mask in find_images(self.masks)}
        return [
            ImageItem(
                id=f"masked/{file.as_posix()}",
                name=words_of(file.stem),
                category=file.parts[0] if len(file.parts) > 1 else "unknown",
                reference=file.as_posix(),
                stamp=self._stamp(file, masks.get(file.with_suffix("").as_posix(), "")),
                caption=sentence_beside(self.images / file),
                details=masks.get(file.with_suffix("").as_posix(), ""),
            )
            for file in files
        ]

    def _stamp(self, file: Path, mask: str) -> str:
        return f"{file_stamp(self.images / file)} {file_stamp(self.masks / mask) if mask else ''}"

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        if not item.details:
            raise DataError(
                f"{item.reference} has no mask", f"add one with the same path and stem under {self.masks}, or remove it"
            )
        picture = read_picture(self.images, item.reference, max_bytes, max_pixels)
        mask = gray(read_picture(self.masks, item.details, max_bytes, max_pixels))
        rgba = with_mask(picture, mask, item.reference)
        return LoadedImage(rgba, caption_of(item.caption, item.name), has_background=True)
