"""Records of an image collection: one stored image with all that is known of it, and the truth behind it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.data.images.schema import IMAGE_TEXTS, unpack_parts
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import StoredView

IMAGES_NAME = "images-{:05d}.parquet"


@dataclass(frozen=True)
class ImageRecord:
    """One image. Coordinates are normalised, of the stored square.

    Attributes:
        texts: the text columns: name, caption, licence, source, notes and so on.
        rgba: uint8 [S, S, 4], colour not premultiplied.
        original_size: width and height of the image that it was cut from, pixels.
        crop_box: of the stored square in that image, pixels: left, top, right, bottom.
        object_box: left, top, right, bottom.
        keypoints: float32 [K, 3]: u, v, and 1 where visible; None where the image has none.
        parts: uint8 [P, h, h] as stored: labels (P = 1) or probabilities; None where it has none.
        camera: B = 1; for scoring only.
        truth: the object of a data set of shapes that the image shows, as ``id#view``, empty where there is none.
    """

    id: str
    texts: dict[str, str]
    rgba: np.ndarray
    original_size: tuple[int, int]
    crop_box: tuple[float, float, float, float]
    object_box: tuple[float, float, float, float]
    keypoints: np.ndarray | None
    parts: np.ndarray | None
    camera: Camera | None
    truth: str

    def picture(self, annotations: Annotations, with_camera: bool) -> StoredView:
        """What samples are cut from; an image without keypoints in a set that has some has none visible."""
        count = len(annotations.keypoint_names)
        keypoints = np.zeros((count, 3), np.float32) if self.keypoints is None and count else self.keypoints
        parts = self.parts
        if parts is not None and annotations.part_encoding == "labels":
            parts = np.where(parts == np.arange(len(annotations.part_names))[:, None, None], 255, 0).astype(np.uint8)
        return StoredView(
            f"{self.id}#0",
            self.rgba,
            self.camera if with_camera else None,
            None,
            self.object_box,
            keypoints,
            parts,
            annotations.keypoint_mirror,
            annotations.part_mirror,
        )


def load_image(dataset: ShardedDataset, image_id: str) -> ImageRecord:
    """One image of a collection, decoded.

    Raises:
        DataError: unknown image, a damaged shard, or the data set is no image collection.
    """
    if dataset.manifest.kind != "images":
        raise DataError(f"{dataset.uri} is no image collection but holds shapes", "load its views")
    entry = dataset.entry(image_id)
    table = dataset.read_group(IMAGES_NAME.format(entry.shard), entry.row_group, None)
    return record_of(table)


def record_of(table: pa.Table) -> ImageRecord:
    """The record of a table with one row."""
    (row,) = table.to_pylist()
    points = np.frombuffer(row["keypoints"], "<f4").reshape(-1, 3)
    return ImageRecord(
        id=row["id"],
        texts={name: row[name] for name in IMAGE_TEXTS},
        rgba=np.asarray(Image.open(io.BytesIO(row["rgba_png"])).convert("RGBA")),
        original_size=tuple(row["original_size"]),
        crop_box=tuple(row["crop_box"]),
        object_box=tuple(row["object_box"]),
        keypoints=points if len(points) else None,
        parts=unpack_parts(row["parts_png"]) if row["parts_png"] else None,
        camera=_camera(row),
        truth=row["truth"],
    )


def _camera(row: dict[str, Any]) -> Camera | None:
    if not row["camera"]:
        return None
    values = torch.from_numpy(np.frombuffer(row["camera"], "<f4").copy())[None]
    focal, principal, rotation, translation = values.split([2, 2, 9, 3], dim=1)
    return Camera(focal, principal, rotation.reshape(1, 3, 3), translation, row["projection"])


@dataclass(frozen=True)
class ShapeRef:
    """What an image shows, in the data set of shapes that it was taken from; for scoring only."""

    shapes: ShardedDataset
    object_id: str
    view: int


def true_shape(dataset: ShardedDataset, image_id: str, shapes: str = "") -> ShapeRef:
    """The shape behind an image.

    Args:
        dataset: an image collection.
        image_id: one of its images.
        shapes: where the data set of shapes lies now; empty takes where it lay when the images were prepared.

    Raises:
        DataError: the image has no known shape, or the data set of shapes is not there.
    """
    record = load_image(dataset, image_id)
    if not record.truth:
        raise DataError(f"the shape that {image_id} shows is not known", "score it by its image alone")
    object_id, _, view = record.truth.rpartition("#")
    opened = _opened(shapes or record.texts["truth_data"])
    opened.entry(object_id)
    return ShapeRef(opened, object_id, int(view))


@lru_cache(maxsize=4)
def _opened(uri: str) -> ShardedDataset:
    return ShardedDataset.open(uri)
