"""COCO-style JSON: one item per annotation, with its polygons or run lengths, keypoints and captions."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from raylift.core.errors import DataError
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.sources.base import ImageItem, LoadedImage, SourceItem
from raylift.data.sources.coco_masks import decode_segmentation
from raylift.data.sources.image_reading import caption_of, read_picture, with_mask
from raylift.data.sources.mesh_reading import file_stamp
from raylift.data.sources.registry import source
from raylift.data.store.annotations import Annotations

_REMEDY = "use the JSON file of instances or keypoints annotations"


@source("coco", delivers="images", help="COCO instances: FILE.json, or FILE.json,IMAGES")
@dataclass(frozen=True)
class CocoSource:
    """``coco:ANNOTATIONS.json`` with images in ``images/`` or next to it, or ``coco:ANNOTATIONS.json,IMAGES``.

    Annotations with a segmentation are items; those with only a caption describe their image; crowds are set aside. If
    categories have different keypoints, the data set has all of them, and an object those of its category.
    """

    annotation_file: Path
    images: Path
    kind: str = "coco"

    @staticmethod
    def recognises(path: Path) -> bool:
        """A JSON file."""
        return path.suffix == ".json"

    @staticmethod
    def open(place: str, seed: int) -> CocoSource:
        """The source of ``FILE.json`` or ``FILE.json,IMAGES``."""
        return CocoSource.at(place)

    @staticmethod
    def at(place: str) -> CocoSource:
        first, separator, second = place.partition(",")
        file = Path(first).expanduser().resolve()
        beside = file.parent / "images"
        images = Path(second).expanduser().resolve() if separator else beside if beside.is_dir() else file.parent
        return CocoSource(file, images)

    def annotations(self) -> Annotations:
        return Annotations.of_keypoints(_keypoint_names(self._content()))

    def items(self) -> list[SourceItem]:
        content = self._content()
        try:
            categories = {category["id"]: category for category in content["categories"]}
            images = {image["id"]: image for image in content["images"]}
            licences = {one.get("id"): one.get("name", "") for one in content.get("licenses", [])}
            captions: dict[Any, str] = {}
            per_image: dict[Any, int] = defaultdict(int)
            for annotation in content["annotations"]:
                if "caption" in annotation and "segmentation" not in annotation:
                    captions.setdefault(annotation["image_id"], str(annotation["caption"]).strip())
                else:
                    per_image[annotation["image_id"]] += 1
            items: list[SourceItem] = []
            for annotation in content["annotations"]:
                if "segmentation" not in annotation and "caption" in annotation:
                    continue
                image = images.get(annotation["image_id"], {})
                category = categories[annotation["category_id"]]
                # A caption describes an image's only object; with several objects it is unclear which one.
                alone = per_image[annotation["image_id"]] == 1
                items.append(
                    ImageItem(
                        id=f"coco/{self.annotation_file.stem}/{annotation['id']}",
                        name=str(category["name"]),
                        category=str(category["name"]),
                        reference=str(image.get("file_name", "")),
                        licence=str(licences.get(image.get("license"), "")),
                        stamp=file_stamp(self.images / str(image.get("file_name", ""))),
                        caption=str(annotation.get("caption") or (captions.get(image.get("id"), "") if alone else "")),
                        details=json.dumps(
                            {
                                name: annotation.get(name)
                                for name in ("segmentation", "bbox", "keypoints", "iscrowd", "category_id")
                            }
                        ),
                    )
                )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{self.annotation_file} is not in COCO format: {error!r}", _REMEDY) from error
        if not items:
            raise DataError(f"{self.annotation_file} has no annotation with a segmentation", _REMEDY)
        return items

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        assert isinstance(item, ImageItem)
        annotation = json.loads(item.details)
        if annotation["iscrowd"]:
            raise DataError("it is a crowd, not an object", "nothing to do: crowds are always left out")
        if not item.reference:
            raise DataError("its image is not listed in the JSON", "fix the annotation, or remove it")
        if not annotation["segmentation"]:
            raise DataError("it has no segmentation", "annotate its silhouette, or remove it")
        # Annotations refer to the stored pixels, whatever the EXIF orientation.
        picture = read_picture(self.images, item.reference, max_bytes, max_pixels, upright=False)
        mask = decode_segmentation(annotation["segmentation"], picture.height, picture.width)
        rgba = with_mask(picture, mask, item.reference)
        return LoadedImage(
            rgba,
            caption_of(item.caption, item.name),
            has_background=True,
            box=_box(annotation["bbox"]),
            keypoints=self._keypoints(annotation),
        )

    def _keypoints(self, annotation: dict[str, Any]) -> np.ndarray | None:
        everything = _keypoint_names(self._content())
        if not everything or annotation["keypoints"] is None:
            return None
        category = next(one for one in self._content()["categories"] if one["id"] == annotation["category_id"])
        names = category.get("keypoints", [])
        try:
            points = np.asarray(annotation["keypoints"], np.float64).reshape(-1, 3)
        except (TypeError, ValueError):
            points = np.zeros((0, 3))
        if len(points) != len(names):
            raise DataError(
                f"it has {len(annotation['keypoints'])} keypoint numbers, but its category has {len(names)} keypoints",
                "fix the annotation, or remove it",
            )
        found = np.zeros((len(everything), 3))
        for name, (x, y, state) in zip(names, points, strict=True):
            found[everything.index(name)] = (x, y, state >= 2)  # 1: labelled, but hidden
        return found

    def _content(self) -> dict[str, Any]:
        return _read_json(self.annotation_file, file_stamp(self.annotation_file))


def _keypoint_names(content: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for one in content.get("categories", []) for name in one.get("keypoints", [])))


def _box(values: Any) -> tuple[float, float, float, float] | None:
    """Convert COCO's left, top, width, height to left, top, right, bottom; None if missing."""
    try:
        left, top, width, height = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return (left, top, left + width, top + height)


@lru_cache(maxsize=2)
def _read_json(path: Path, stamp: str) -> dict[str, Any]:
    """Read once per process, because such files are large; ``stamp`` invalidates the cache when the file changes."""
    refuse_large_file(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "use --source coco:ANNOTATIONS.json") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}", "download it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not in COCO format: it is a {type(content).__name__}", _REMEDY)
    return content
