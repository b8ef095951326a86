"""OOD-CV (Zhao et al. 2022): training images of PASCAL3D+, and test images that differ by one nuisance each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import LoadedImage, SourceItem
from raylift.data.sources.cad_models import CadFolder
from raylift.data.sources.image_reading import read_picture
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.pascal3d_records import annotated_image, find_release, names_of, read_or_reason
from raylift.data.sources.posed_images import PosedImage, PosedItem, load_posed, without_duplicates
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

_REMEDY = "use ood_cv:FOLDER with the three unpacked archives in it, or ood_cv:IMAGES,LISTS,PASCAL3D+"
_NAME = re.compile(r"(?P<source>imagenet|pascal|collection)_(?P<category>[^_]+)_(?P<name>.+)_(?P<index>\d+)")
_OWN = "own"


@source("ood_cv", delivers="images", help="OOD-CV: FOLDER with its archives and PASCAL3D+, or IMAGES,LISTS,PASCAL3D+")
@dataclass(frozen=True)
class OodCvSource:
    """OOD-CV-dataset, its pose lists (phase-1-pose-npz), and PASCAL3D+_release1.1 for training images and CAD models.

    ``train/{category}.txt`` lists the training images. The test images are the names of
    ``phase-1/iid_test/annotations`` and ``phase-1/nuisances/{nuisance}/annotations``; ids start with the nuisance:
    ``ood_cv/weather/car/...``. The crops without principal points that were published for classification cannot be
    used.

    Attributes:
        path: the collected images: ``images/{category}``, ``annotations/{category}``.
        lists: the pose lists.
        release: PASCAL3D+_release1.1.
    """

    path: Path
    lists: Path
    release: Path
    kind: str = "ood_cv"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A folder with the pose lists in it."""
        return _find(path, "phase-1/iid_test") is not None

    @staticmethod
    def open(place: str, seed: int) -> OodCvSource:
        """The source of ``FOLDER`` or ``IMAGES,LISTS,PASCAL3D+``."""
        parts = [Path(part).expanduser().resolve() for part in place.split(",")]
        if len(parts) not in (1, 3):
            raise DataError(f"--source ood_cv:{place} names {len(parts)} folders", _REMEDY)
        images, lists, release = parts * 3 if len(parts) == 1 else parts
        found = _find(lists, "phase-1/iid_test"), _find(images, "annotations", "images")
        if found[0] is None or found[1] is None:
            missing = "pose lists phase-1" if found[0] is None else "annotations/{category} of the collected images"
            raise DataError(f"there are no {missing} in {lists if found[0] is None else images}", _REMEDY)
        return OodCvSource(found[1], found[0], find_release([release, release.parent]))

    def annotations(self) -> Annotations:
        return Annotations()

    def items(self) -> list[SourceItem]:
        images = [*self._test_images(), *self._training_images()]
        if not images:
            raise DataError(f"{self.lists} lists no images", _REMEDY)
        cads = CadFolder.within(self.release)
        return [item for image in without_duplicates(images) for item in image.items(cads)]

    def _training_images(self) -> list[PosedImage]:
        return [
            annotated_image(
                self.release,
                f"{file.stem}_{'imagenet' if name.startswith('n') else 'pascal'}",
                name,
                f"{self.kind}/train/{file.stem}/{name}",
                file.stem,
                "train",
            )
            for file in sorted((self.lists / "train").glob("*.txt"))
            for name in names_of(file)
        ]

    def _test_images(self) -> list[PosedImage]:
        phase = self.lists / "phase-1"
        folders = [("iid", phase / "iid_test"), *((one.name, one) for one in sorted((phase / "nuisances").glob("*")))]
        found = []
        for nuisance, folder in folders:
            for file in sorted((folder / "annotations").glob("*.npz")):
                match = _NAME.fullmatch(file.stem)
                if match is None:
                    raise DataError(f"{file} is not named SOURCE_CATEGORY_IMAGE_OBJECT.npz", _REMEDY)
                image_id = f"{self.kind}/{nuisance}/{match['category']}/{match['name']}_{match['index']}"
                found.append(self._test_image(match, image_id))
        return found

    def _test_image(self, match: re.Match[str], image_id: str) -> PosedImage:
        category, name, index = match["category"], match["name"], int(match["index"])
        if match["source"] != "collection":
            subset = f"{category}_{match['source']}"
            return annotated_image(self.release, subset, name, image_id, category, "test", index)
        reference = f"images/{category}/{name}.jpg"
        annotation = self.path / "annotations" / category / f"{name}.mat"
        photo, problem = read_or_reason(annotation)
        stamp = f"{file_stamp(self.path / reference)} {file_stamp(annotation)}"
        return PosedImage(image_id, category, reference, "test", stamp, photo, problem, index, _OWN)

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        posed = PosedItem.of(item)
        root = self.path if posed.extra == _OWN else self.release
        picture = read_picture(root, posed.reference, max_bytes, max_pixels, upright=False)
        return load_posed(picture, posed, CadFolder.within(self.release), max_bytes)


def _find(folder: Path, *inside: str) -> Path | None:
    """The folder itself, or one up to two levels below, that has certain folders in it."""
    candidates = (folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*")))
    return next((one for one in candidates if all((one / name).is_dir() for name in inside)), None)
