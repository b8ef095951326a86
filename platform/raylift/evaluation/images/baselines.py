"""Baselines that any reconstruction of an image collection must beat: the mean image, and silhouette retrieval.

* ``mean_image``: the same for every image: the mean of the training crops, with their mean silhouette;
* ``retrieval``: the training image whose silhouette overlaps the input's most, with its pixels and, where known, its
  camera and shape. A single-view model sees the input's silhouette, so using it for retrieval is fair.

The cameras of training images are loaded too, for the constant and random camera baselines (``images.poses``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from raylift.core.errors import DataError
from raylift.core.types import CropRequest
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry
from raylift.evaluation.color import MaskedImage
from raylift.evaluation.images.alignment import training_rotations
from raylift.evaluation.images.target import load_image_truth
from raylift.evaluation.shapes.target import spread

MEAN_PX = 64
MAX_IMAGES = 6000
"""Maximum number of training images for baselines, evenly spread."""
MAX_CAMERAS = 1000


class ImageBaselines:
    """Both baselines, from the training images.

    Attributes:
        rotations: true rotations of training images, by category and image; empty if unknown.

    Args:
        entries: entries of the images that the model was trained on.
        crop: crop request of the model.

    Raises:
        DataError: no training images.
    """

    def __init__(self, dataset: ShardedDataset, entries: Sequence[ObjectEntry], crop: CropRequest | None) -> None:
        if not entries:
            raise DataError("baselines need training images, but there are none", "set evaluation.baselines=false")
        chosen = [entries[index] for index in spread(MAX_IMAGES, len(entries))]
        total = np.zeros((4, MEAN_PX, MEAN_PX))
        silhouettes = []
        for entry in chosen:
            image = load_image_truth(dataset, entry.id, crop, MEAN_PX).image
            total += np.concatenate([image.rgb.transpose(2, 0, 1), image.coverage[None]])
            silhouettes.append(image.coverage.astype(np.float32).ravel())
        self._ids = [entry.id for entry in chosen]
        self._mean = torch.from_numpy(total / len(chosen)).float()
        self._silhouettes = np.stack(silhouettes)
        self.rotations = training_rotations(dataset, entries, MAX_CAMERAS)

    def mean_image(self, image_px: int) -> MaskedImage:
        """The mean training crop, at any size."""
        resized = functional.interpolate(
            self._mean[None], (image_px, image_px), mode="bilinear", align_corners=False, antialias=True
        )[0].numpy()
        return MaskedImage.of_pixels(resized[:3], resized[3:])

    def nearest(self, mask: Float[np.ndarray, "1 H W"]) -> str:
        """The training image with the largest soft IoU of silhouettes; ties go to the first."""
        small = functional.interpolate(
            torch.from_numpy(mask)[None].float(),
            (MEAN_PX, MEAN_PX),
            mode="bilinear",
            align_corners=False,
            antialias=True,
        ).numpy()
        both = self._silhouettes @ small.ravel()
        either = self._silhouettes.sum(axis=1) + small.sum() - both
        return self._ids[int((both / np.maximum(either, 1e-9)).argmax())]
