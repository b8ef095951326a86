"""The ground truth of an image that a reconstruction is measured against."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from raylift.config.evaluation import LEAST_PX
from raylift.core.types import Camera, CropRequest
from raylift.data.feed.batches import on_white
from raylift.data.images.record import ShapeRef, load_image, true_shape
from raylift.data.shapes.record import ViewRecord, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import (
    Crop,
    cropped_camera,
    cropped_keypoints,
    cropped_pixels,
    draw_crop,
    silhouette_box,
)
from raylift.evaluation.color import MaskedImage

NO_SHAPES = "none"


@dataclass(frozen=True)
class ImageTarget:
    """One image, cropped like evaluation samples. Coordinates are normalised to the crop.

    Attributes:
        image: pixels and coverage.
        camera: B = 1; None if unknown.
        keypoints: u, v, and 1 where visible; None if the data set has none.
        box_size: longer edge of the object's box.
        shape: true shape; None if unknown or not requested.
    """

    id: str
    image: MaskedImage
    camera: Camera | None
    keypoints: Float[np.ndarray, "K 3"] | None
    box_size: float
    shape: ShapeRef | None

    @property
    def image_px(self) -> int:
        return self.image.rgb.shape[0]


def load_image_truth(
    dataset: ShardedDataset, image_id: str, crop: CropRequest | None, image_px: int = 0, shapes: str = NO_SHAPES
) -> ImageTarget:
    """Load the ground truth of an image.

    Args:
        crop: crop request of the model; its draws are ignored. None uses the whole stored image.
        image_px: image side in pixels; 0 uses the crop's size in the stored image, which is then resampled by less
            than a pixel, but at least the size that LPIPS needs.
        shapes: location of the true shapes, if they have moved; "none" does not load them.

    Raises:
        DataError: unknown image, a damaged shard, or the true shapes are missing.
    """
    record = load_image(dataset, image_id)
    picture = record.picture(dataset.manifest.annotations, with_camera=True)
    box = picture.box or silhouette_box(picture.rgba)
    window = Crop()
    if crop is not None:
        window = draw_crop(box, replace(crop, jitter=0.0, mirror=False), None)
    size = image_px or max(LEAST_PX, round(window.half * picture.rgba.shape[0]))
    keypoints = picture.keypoints
    return ImageTarget(
        image_id,
        MaskedImage.of_pixels(*on_white(cropped_pixels(picture.rgba, window, size))),
        None if picture.camera is None else cropped_camera(picture.camera, window),
        None if keypoints is None else cropped_keypoints(keypoints, picture.keypoint_mirror, window),
        max(box[2] - box[0], box[3] - box[1]) / window.half,
        true_shape(dataset, image_id, shapes) if record.truth and shapes != NO_SHAPES else None,
    )


def unseen_views(shape: ShapeRef, count: int) -> list[ViewRecord]:
    """``count`` stored views of the true shape (fewer, if it has fewer), evenly around it, without the image's own."""
    total = shape.shapes.entry(shape.object_id).num_views
    steps = sorted({(index + 1) * total // (count + 1) % total for index in range(count)} - {0})
    return [load_view(shape.shapes, shape.object_id, (shape.view + step) % total) for step in steps]
