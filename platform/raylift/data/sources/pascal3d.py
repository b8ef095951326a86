"""PASCAL3D+ (Xiang et al. 2014): photographs whose objects are aligned with CAD models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.image_reading import read_picture
from raylift.data.sources.pascal3d_records import annotated_image, is_release, names_of
from raylift.data.sources.posed_images import PosedItem, load_posed, without_duplicates
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

_SUFFIX = "_imagenet"
HELD_OUT_FIRST = (("val", "test"), ("train", "train"))
"""Published lists and our splits. Results are published on the validation list, so it is the test set here."""


@source("pascal3d", delivers="images", help="PASCAL3D+ release 1.1: photographs with camera, outline and category")
@dataclass(frozen=True)
class Pascal3dSource:
    """``Images/``, ``Annotations/``, ``Image_sets/`` and ``CAD/`` of PASCAL3D+_release1.1: its ImageNet part.

    Each annotated object of the list's category is an item; it has the camera that sees its CAD model as annotated, the
    model's outline as its amodal mask, and the background. The published training list is the training split, the
    validation list the test split.
    """

    path: Path
    kind: str = "pascal3d"

    @staticmethod
    def recognises(path: Path) -> bool:
        """The published folders."""
        return is_release(path) and (path / "Image_sets").is_dir()

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        if not is_release(self.path):
            raise DataError(
                f"{self.path} has no Images/, Annotations/ and CAD/",
                "point --source pascal3d:PATH at PASCAL3D+_release1.1",
            )
        lists = self.path / "Image_sets"
        categories = sorted({file.stem.rpartition(_SUFFIX)[0] for file in lists.glob(f"*{_SUFFIX}_*.txt")})
        images = [
            annotated_image(self.path, category + _SUFFIX, name, f"{self.kind}/{category}/{name}", category, split)
            for category in categories
            for listed, split in HELD_OUT_FIRST
            for name in names_of(lists / f"{category}{_SUFFIX}_{listed}.txt")
        ]
        if not images:
            raise DataError(f"found no list CATEGORY{_SUFFIX}_train.txt in {lists}", "download PASCAL3D+ again")
        cads = CadFolder.within(self.path)
        return [item for image in without_duplicates(images) for item in image.items(cads)]

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        posed = PosedItem.of(item)
        # Annotations refer to the stored pixels, whatever the EXIF orientation.
        picture = read_picture(self.path, posed.reference, max_bytes, max_pixels, upright=False)
        return load_posed(picture, posed, CadFolder.within(self.path), max_bytes)
