"""ImageNet3D (Ma et al. 2024): ImageNet's photographs with poses of 200 rigid categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from raylift.core.errors import DataError
from raylift.data.sources.array_archives import read_records
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.image_reading import read_picture
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.pascal3d import HELD_OUT_FIRST
from raylift.data.sources.pascal3d_records import names_of
from raylift.data.sources.posed_images import PosedImage, PosedItem, load_posed, with_category, without_duplicates
from raylift.data.sources.posed_objects import PosedObject, PosedPhoto, number, object_of
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

_FOLDERS = ("images", "annotations", "lists", "CAD")
_SUFFIX = "_imagenet"
_MAX_BYTES = 1 << 20
_FIRST_CENTER = 0.5
"""Its principal points count pixels from the image's outer corner."""


@source("imagenet3d", delivers="images", help="ImageNet3D: photographs with camera, outline and category")
@dataclass(frozen=True)
class ImageNet3dSource:
    """``images/``, ``annotations/``, ``lists/`` and ``CAD/`` of ImageNet3D; angles are in radians.

    Items, masks and splits are those of ``Pascal3dSource``. Objects that the data set itself ignores or calls bad
    ("very hard to tell the pose") are set aside; those that are partly or barely visible are noted, as nothing says
    what hides them.
    """

    path: Path
    kind: str = "imagenet3d"

    @staticmethod
    def recognises(path: Path) -> bool:
        """The published folders."""
        return all((path / name).is_dir() for name in _FOLDERS)

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        if not self.recognises(self.path):
            raise DataError(
                f"{self.path} has no {', '.join(f'{name}/' for name in _FOLDERS)}",
                "point --source imagenet3d:PATH at the unpacked imagenet3d_v1",
            )
        lists = self.path / "lists"
        categories = sorted({file.stem.rpartition(_SUFFIX)[0] for file in lists.glob(f"*{_SUFFIX}_*.txt")})
        images = [
            self._image(category, name, split)
            for category in categories
            for listed, split in HELD_OUT_FIRST
            for name in names_of(lists / f"{category}{_SUFFIX}_{listed}.txt")
        ]
        if not images:
            raise DataError(f"found no list CATEGORY{_SUFFIX}_train.txt in {lists}", "download ImageNet3D again")
        cads = CadFolder.within(self.path)
        return [item for image in without_duplicates(images) for item in image.items(cads)]

    def _image(self, category: str, name: str, split: str) -> PosedImage:
        reference = f"images/{category}/{name}.JPEG"
        annotation = self.path / "annotations" / category / f"{name}.npz"
        photo, problem = PosedPhoto(()), ""
        try:
            photo = with_category(read_photo(annotation), category)
        except DataError as error:
            problem = f"{error.problem} ({error.remedy})"
        stamp = f"{file_stamp(self.path / reference)} {file_stamp(annotation)}"
        return PosedImage(f"{self.kind}/{category}/{name}", category, reference, split, stamp, photo, problem)

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        posed = PosedItem.of(item)
        picture = read_picture(self.path, posed.reference, max_bytes, max_pixels, upright=False)
        cads = CadFolder.within(self.path)
        return load_posed(picture, posed, cads, max_bytes, first_center=_FIRST_CENTER)


def read_photo(path: Path) -> PosedPhoto:
    """The objects of an .npz file of ImageNet3D.

    Raises:
        DataError: missing, damaged, or a pickle of anything but annotations.
    """
    records = read_records(path, "annotations", _MAX_BYTES)
    sizes = {(number(record.get("width")), number(record.get("height"))) for record in records}
    width, height = sizes.pop() if len(sizes) == 1 else (None, None)
    size = (int(width), int(height)) if width and height else None
    return PosedPhoto(tuple(_object_of(record) for record in records), size)


def _object_of(record: Mapping[str, Any]) -> PosedObject:
    found = object_of(record, record, "radians", one_based=False)
    status = str(record.get("object_status", "")).removeprefix("status_")
    if number(record.get("ignore")):
        return replace(found, pose=None, problem="the data set itself ignores it")
    if status == "bad":
        return replace(found, pose=None, problem="its status is bad: its pose is a guess")
    if status in ("partially", "barely"):
        note = f"it is {status} visible, but nothing says what hides it: its whole outline counts as visible"
        return replace(found, notes=(*found.notes, note))
    return found
