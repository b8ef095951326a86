"""Records of an image collection: a stored image with its annotations, and its true shape if known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raylift.core.errors import DataError
from raylift.core.inputs.pictures import open_picture
from raylift.core.types import Camera
from raylift.data.images.schema import IMAGE_TEXTS, unpack_parts
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import StoredView

IMAGES_NAME = "images-{:05d}.parquet"


@dataclass(frozen=True)
class ImageRecord:
    """One image. Coordinates are normalised to the stored square.

    Attributes:
        texts: text columns: name, caption, licence, source, notes and so on.
        rgba: uint8 [S, S, 4], colour not premultiplied.
        original_size: width and height of the original image, pixels.
        crop_box: box of the stored square in the original image, pixels: left, top, right, bottom.
        object_box: box of the object: left, top, right, bottom.
        keypoints: float32 [K, 3]: u, v, and 1 where visible; None if the image has none.
        parts: uint8 [P, h, h] as stored: labels (P = 1) or probabilities; None if the image has none.
        camera: B = 1; None if unknown.
        truth: object of a data set of shapes that the image shows, as ``id#view``; empty if unknown.
        amodal: uint8 [S, S], coverage of the whole object, hidden parts included; None if unknown.
        has_background: whether the colours around the object are a photograph's.
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
    amodal: np.ndarray | None = None
    has_background: bool = False

    def picture(self, annotations: Annotations, with_camera: bool) -> StoredView:
        """The stored view that samples are cut from; if only other images have keypoints, all of its own are hidden."""
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
            self.amodal,
            self.has_background,
        )


def load_image(dataset: ShardedDataset, image_id: str) -> ImageRecord:
    """Load and decode one image of a collection.

    Raises:
        DataError: unknown image, a damaged shard, or the data set is not an image collection.
    """
    if dataset.manifest.kind != "images":
        raise DataError(f"{dataset.uri} is not an image collection: it holds shapes", "load its views")
    entry = dataset.entry(image_id)
    table = dataset.read_group(IMAGES_NAME.format(entry.shard), entry.row_group, None)
    return record_of(table)


def record_of(table: pa.Table) -> ImageRecord:
    """The record of a one-row table."""
    (row,) = table.to_pylist()
    points = np.frombuffer(row["keypoints"], "<f4").reshape(-1, 3)
    rgba = np.asarray(open_picture(row["rgba_png"], f"stored image {row['id']}").convert("RGBA"))
    amodal = row.get("amodal_png")  # version 2 has none
    return ImageRecord(
        id=row["id"],
        texts={name: row[name] for name in IMAGE_TEXTS},
        rgba=rgba,
        original_size=tuple(row["original_size"]),
        crop_box=tuple(row["crop_box"]),
        object_box=tuple(row["object_box"]),
        keypoints=points if len(points) else None,
        parts=unpack_parts(row["parts_png"]) if row["parts_png"] else None,
        camera=_camera(row),
        truth=row["truth"],
        amodal=np.asarray(open_picture(amodal, f"the stored mask of {row['id']}")) if amodal else None,
        has_background=_has_background(row, rgba),
    )


def _has_background(row: dict[str, Any], rgba: np.ndarray) -> bool:
    stored = row.get("has_background")
    # Version 2 does not say, but cut-outs mostly have black around the object.
    return bool(rgba[rgba[..., 3] == 0, :3].any()) if stored is None else bool(stored)


def _camera(row: dict[str, Any]) -> Camera | None:
    if not row["camera"]:
        return None
    values = torch.from_numpy(np.frombuffer(row["camera"], "<f4").copy())[None]
    focal, principal, rotation, translation = values.split([2, 2, 9, 3], dim=1)
    return Camera(focal, principal, rotation.reshape(1, 3, 3), translation, row["projection"])


@dataclass(frozen=True)
class ShapeRef:
    """The object and view that an image shows, in the data set of shapes it was taken from; for scoring only."""

    shapes: ShardedDataset
    object_id: str
    view: int


def true_shape(dataset: ShardedDataset, image_id: str, shapes: str = "") -> ShapeRef:
    """The true shape of an image.

    Args:
        dataset: an image collection.
        image_id: one of its images.
        shapes: current location of the data set of shapes; empty uses its location when the images were prepared.

    Raises:
        DataError: the image has no known shape, or the data set of shapes is missing.
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
