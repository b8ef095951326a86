"""Statistics of one image of a collection, and likely problems with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from raylift.data.images.record import ImageRecord, load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.data.store.stored_view import Crop, cropped_pixels, silhouette_box
from raylift.geometry.cameras import camera_centers


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one image; of the whole object's outline where it is known, else of its silhouette.

    Attributes:
        coverage: fraction of the stored square that the silhouette covers.
        filling: fraction of the silhouette's bounding box that the silhouette fills.
        object_px: longer edge of the object's box in the original, pixels.
        enlargement: stored pixels per original pixel; above 1, the image was enlarged.
        visible_keypoints: number of visible keypoints.
        num_pieces: connected pieces of the silhouette with at least a hundredth of its area.
        cut_off: largest fraction of an edge of its bounding box that is cut by the border of the original; tight
            cut-outs touch the border at points, truncated objects along a line.
    """

    entry: ObjectEntry
    coverage: float
    filling: float
    object_px: float
    enlargement: float
    visible_keypoints: float
    num_pieces: float
    cut_off: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems that a human should check."""
        found = []
        if self.coverage < 0.02:
            found.append(f"its silhouette covers {self.coverage:.2%} of the image")
        if self.filling > 0.97:
            found.append("its silhouette is a rectangle: is it cut out?")
        if self.enlargement > 3:
            found.append(f"it was enlarged {self.enlargement:.1f} times: the object has {self.object_px:.0f} pixels")
        if self.num_pieces > 3:
            found.append(f"its silhouette has {self.num_pieces:.0f} pieces")
        if self.cut_off > 0.4:
            found.append("its silhouette runs along the border of the image: is the object truncated?")
        return tuple(found)


def image_statistics(dataset: ShardedDataset, entry: ObjectEntry) -> ImageStatistics:
    """The statistics of one image.

    Raises:
        DataError: its shard is damaged.
    """
    record = load_image(dataset, entry.id)
    outline = record.rgba[..., 3] if record.amodal is None else record.amodal
    covered = outline > 127
    side = covered.shape[0]
    left, top, right, bottom = silhouette_box(outline)
    window_px = record.crop_box[2] - record.crop_box[0]
    box = record.object_box
    pieces, count = label(covered)
    sizes = [int((pieces == index + 1).sum()) for index in range(min(count, 50))]

    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    # Resampling blurs an edge over a stored pixel, or over an original pixel if that is larger.
    slack = max(1.0, window_px / side)
    edges = (
        (left, 0, covered[:, columns[0]], len(rows)),
        (top, 1, covered[rows[0]], len(columns)),
        (right, 0, covered[:, columns[-1]], len(rows)),
        (bottom, 1, covered[rows[-1]], len(columns)),
    )
    cut_off = 0.0
    for value, axis, line, length in edges:
        place = record.crop_box[axis] + (value + 1) / 2 * window_px
        if place < slack or place > record.original_size[axis] - slack:
            cut_off = max(cut_off, float(line.sum()) / length)
    return ImageStatistics(
        entry=entry,
        coverage=float(covered.mean()),
        filling=float(covered.sum()) / max(1.0, (right - left) * (bottom - top) / 4 * side * side),
        object_px=max(box[2] - box[0], box[3] - box[1]) / 2 * window_px,
        enlargement=side / window_px,
        visible_keypoints=0.0 if record.keypoints is None else float((record.keypoints[:, 2] > 0).sum()),
        num_pieces=float(sum(size >= 0.01 * covered.sum() for size in sizes)),
        cut_off=cut_off,
    )


ALIKE = 0.9
"""Mean pairwise IoU of silhouettes above which they no longer reveal poses: random views of seats have 0.33."""

ONE_SIDE = 0.9
"""Length of the azimuths' mean unit vector above which a set counts as seen from one side: a spread of about 26
degrees."""
_OUTLINE_PX = 32
_MOST_READ = 200


def collection_problems(dataset: ShardedDataset, split: str = "train") -> list[str]:
    """Messages on why shapes cannot be learned from a collection: too few images, all alike, all from one side.

    Reads at most 200 images, evenly spread over the split.

    Raises:
        DataError: a shard is damaged.
    """
    entries = dataset.entries(split)
    if len(entries) < 2:
        return [f"{len(entries)} training images are too few to learn a shape: add images, or change the splits"]
    read = [load_image(dataset, entries[place].id) for place in spread_places(len(entries), _MOST_READ)]
    found = []
    outlines = np.stack([_outline(record) for record in read]).reshape(len(read), -1).astype(np.float64)
    shared = outlines @ outlines.T
    sizes = outlines.sum(axis=1)
    ious = shared / (sizes[:, None] + sizes[None] - shared)
    alike = float(ious[~np.eye(len(read), dtype=bool)].mean())
    if alike > ALIKE:
        found.append(
            f"the silhouettes are nearly equal (mean pairwise IoU {alike:.2f}): poses and shapes cannot be inferred if "
            "an object looks the same from all sides, or if all images are from one side; add views from other sides"
        )
    cameras = [record.camera for record in read if record.camera is not None]
    if len(cameras) == len(read):
        centers = np.stack([camera_centers(camera)[0].double().numpy() for camera in cameras])[:, [0, 2]]
        toward = centers / np.linalg.norm(centers, axis=1, keepdims=True).clip(1e-9)
        length = float(np.linalg.norm(toward.mean(axis=0)))
        if length > ONE_SIDE:
            found.append(
                f"all images are from one side: their azimuths spread by {azimuth_spread_deg(length):.0f} degrees; the "
                "other sides cannot be learned, so add views from there"
            )
    return found


def spread_places(total: int, most: int) -> list[int]:
    """At most ``most`` indices of ``total``, evenly spread."""
    return sorted({int(place) for place in np.linspace(0, total - 1, min(total, most))})


def azimuth_spread_deg(length: float) -> float:
    """Circular standard deviation of angles whose mean unit vector has this length."""
    return float(np.degrees(np.sqrt(-2 * np.log(min(1.0, length)))))


def _outline(record: ImageRecord) -> np.ndarray:
    """The silhouette in the square around its box, bool [32, 32]."""
    left, top, right, bottom = silhouette_box(record.rgba)
    crop = Crop(((left + right) / 2, (top + bottom) / 2), max(right - left, bottom - top) / 2)
    return cropped_pixels(record.rgba[..., 3], crop, _OUTLINE_PX) > 127
