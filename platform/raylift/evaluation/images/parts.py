"""Part maps of stored images from a trained part segmentation, and their visualisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from raylift.core.types import CropRequest
from raylift.data.feed.batches import on_white
from raylift.data.images.record import ImageRecord
from raylift.data.store.stored_view import cropped_pixels, draw_crop
from raylift.geometry.cameras import pixel_centers

Segment = Callable[[Float[Tensor, "B 3 H W"]], Float[Tensor, "B K H W"]]
"""Maps crops to part probabilities per pixel of the object, without a background."""

PART_COLORS = ((214, 69, 65), (52, 120, 216), (72, 170, 90), (236, 188, 50), (150, 80, 190), (70, 190, 200))
"""RGB of parts in visualisations, used cyclically; the background has none."""


def predict_parts(
    segment: Segment, record: ImageRecord, crop: CropRequest, image_px: int, device: torch.device | str = "cpu"
) -> UInt8[np.ndarray, "P S S"]:
    """Probabilities of 0 to 255 over the stored square, the background first.

    The silhouette determines the background; the parts share the object.

    Args:
        segment: trained network, in eval mode.
        record: image of a collection.
        crop: crop request of the training; its draws are ignored.
        image_px: side of the network's training crops, pixels.
    """
    window = draw_crop(record.object_box, crop, None)
    image, _ = on_white(cropped_pixels(record.rgba, window, image_px))
    parts = segment(torch.from_numpy(image)[None].to(device)).cpu()
    side = record.rgba.shape[0]
    grid = (pixel_centers(side, side) - torch.tensor(window.center)) / window.half
    # The crop contains the whole object; pixels outside of it have no coverage, so their values do not matter.
    placed = torch.nn.functional.grid_sample(parts, grid[None], padding_mode="border", align_corners=False)[0]
    coverage = torch.from_numpy(record.rgba[..., 3].astype(np.float32) / 255)
    maps = torch.cat([1 - coverage[None], coverage * placed])
    return (255 * maps).round().clamp(0, 255).to(torch.uint8).numpy()


def draw_parts(record: ImageRecord, maps: UInt8[np.ndarray, "P S S"]) -> UInt8[np.ndarray, "S W 3"]:
    """The image on white, next to a copy overlaid with the most likely parts."""
    image, mask = on_white(record.rgba)
    colors = np.array([PART_COLORS[index % len(PART_COLORS)] for index in range(len(maps) - 1)], np.float32) / 255
    painted = colors[maps[1:].argmax(axis=0)].transpose(2, 0, 1)
    over = mask * (0.4 * image + 0.6 * painted) + (1 - mask)
    both = np.concatenate([image, over], axis=2).transpose(1, 2, 0)
    return (255 * both + 0.5).astype(np.uint8)


def stack_pictures(pictures: list[np.ndarray], columns: int = 4) -> UInt8[np.ndarray, "H W 3"]:
    """Arrange images of one size in rows, the last row padded with white."""
    missing = -len(pictures) % columns
    filled = [*pictures, *[np.full_like(pictures[0], 255)] * missing]
    rows = [np.concatenate(filled[start : start + columns], axis=1) for start in range(0, len(filled), columns)]
    return np.concatenate(rows)
