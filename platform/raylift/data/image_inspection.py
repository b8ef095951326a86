"""Numbers of one image of a collection, and what seems wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from raylift.data.dataset import ShardedDataset
from raylift.data.images import load_image
from raylift.data.manifest import ObjectEntry
from raylift.data.pictures import silhouette_box


@dataclass(frozen=True)
class ImageStatistics:
    """Numbers of one image.

    Attributes:
        coverage: share of the stored square that the silhouette covers.
        filling: share of the silhouette's bounding box that it fills.
        object_px: longer edge of the object's box in the original.
        enlargement: stored pixels an original pixel: above 1, the image was blown up.
        visible_keypoints: how many are.
        num_pieces: connected pieces of the silhouette that hold a hundredth of it or more.
        cut_off: the largest share of an edge of its bounding box where it is cut by the border of the original; tight
            cut-outs touch the border at points, objects that are not whole lie along it.
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
        """What a human should look at."""
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
            found.append("its silhouette lies along the border of the image: is the object whole?")
        return tuple(found)


def image_statistics(dataset: ShardedDataset, entry: ObjectEntry) -> ImageStatistics:
    """The numbers of one image.

    Raises:
        DataError: its shard is damaged.
    """
    record = load_image(dataset, entry.id)
    covered = record.rgba[..., 3] > 127
    side = covered.shape[0]
    left, top, right, bottom = silhouette_box(record.rgba)
    window_px = record.crop_box[2] - record.crop_box[0]
    box = record.object_box
    pieces, count = label(covered)
    sizes = [int((pieces == index + 1).sum()) for index in range(min(count, 50))]

    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    # Resampling blurs an edge over a stored pixel, or over an original one where that is larger.
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
