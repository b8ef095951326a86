"""CUB-200-2011: photographs of birds with boxes, segmentations and 15 keypoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from raylift.core.errors import DataError
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.image_reading import caption_of, gray, read_picture, with_mask, words_of
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations


@source("cub", delivers="images", help="CUB-200-2011")
@dataclass(frozen=True)
class CubSource:
    """The published layout: ``images.txt`` and its companions, ``images/``, ``parts/``, and ``segmentations/``.

    The segmentations come in a separate archive, so they may also be next to the folder. The train/test split is the
    published one; ``--split-file`` overrides it. Categories are species.
    """

    path: Path
    kind: str = "cub"

    @staticmethod
    def recognises(path: Path) -> bool:
        """The published layout."""
        return (path / "images.txt").is_file() and (path / "image_class_labels.txt").is_file()

    def annotations(self) -> Annotations:
        names = [words for _, words in _pairs(self.path / "parts" / "parts.txt")]
        return Annotations.of_keypoints(names)

    def items(self) -> list[SourceItem]:
        files = _pairs(self.path / "images.txt")
        classes = dict(_pairs(self.path / "classes.txt"))
        labels = dict(_pairs(self.path / "image_class_labels.txt"))
        training = dict(_pairs(self.path / "train_test_split.txt"))
        boxes = dict(_pairs(self.path / "bounding_boxes.txt"))
        points = _points(self.path / "parts" / "part_locs.txt")
        items: list[SourceItem] = []
        for number, file in files:
            missing = [
                name
                for name, table in (("a class", labels), ("a split", training), ("a box", boxes))
                if number not in table
            ]
            if missing or labels[number] not in classes:
                raise DataError(
                    f"image {number} of {self.path} has no {(missing or ['known class'])[0]}",
                    "download CUB-200-2011 again",
                )
            species = words_of(classes[labels[number]].partition(".")[2] or classes[labels[number]]).lower()
            items.append(
                ImageItem(
                    id=f"cub/{Path(file).with_suffix('').as_posix()}",
                    name=species,
                    category=species,
                    reference=file,
                    split="train" if training[number] == "1" else "test",
                    stamp=file_stamp(self.path / "images" / file),
                    details=json.dumps({"box": boxes[number], "points": points.get(number, [])}),
                )
            )
        if not items:
            raise DataError(f"{self.path / 'images.txt'} lists no images", "download CUB-200-2011 again")
        return items

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        details = json.loads(item.details)
        picture = read_picture(self.path / "images", item.reference, max_bytes, max_pixels, upright=False)
        mask_name = str(Path(item.reference).with_suffix(".png"))
        folders = [self.path / "segmentations", self.path.parent / "segmentations"]
        folder = next((folder for folder in folders if (folder / mask_name).is_file()), None)
        if folder is None:
            raise DataError(
                f"{item.reference} has no segmentation {mask_name}",
                f"unpack CUB's segmentations archive into {folders[0]}",
            )
        # Gray levels count the annotators who marked the pixel as bird: half of them decide.
        mask = np.where(gray(read_picture(folder, mask_name, max_bytes, max_pixels, upright=False)) > 127, 255, 0)
        rgba = with_mask(picture, mask.astype(np.uint8), item.reference)
        left, top, width, height = (float(number) for number in details["box"].split())
        points = np.asarray(details["points"], np.float64).reshape(-1, 3)
        return LoadedImage(
            rgba,
            caption_of(item.caption, item.name),
            has_background=True,
            box=(left, top, left + width, top + height),
            keypoints=points,
        )


def _points(path: Path) -> dict[str, list[list[float]]]:
    """x, y, visible of each image's keypoints, by keypoint number."""
    found: dict[str, dict[int, list[float]]] = {}
    for number, rest in _pairs(path):
        try:
            part, x, y, visible = rest.split()
            found.setdefault(number, {})[int(part)] = [float(x), float(y), float(visible)]
        except ValueError as error:
            raise DataError(f"{path} is damaged at image {number}: {error}", "download CUB-200-2011 again") from error
    return {number: [points[part] for part in sorted(points)] for number, points in found.items()}


def _pairs(path: Path) -> list[tuple[str, str]]:
    return _read_pairs(path, file_stamp(path))


@lru_cache(maxsize=16)
def _read_pairs(path: Path, stamp: str) -> list[tuple[str, str]]:
    """Lines of "number rest"."""
    refuse_large_file(path)
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", "point --source cub:FOLDER at the folder with images.txt"
        ) from error
    pairs = [line.strip().partition(" ") for line in lines if line.strip()]
    if any(not rest for _, _, rest in pairs):
        raise DataError(f"{path} has a line without a value", "download CUB-200-2011 again")
    return [(number, rest.strip()) for number, _, rest in pairs]
