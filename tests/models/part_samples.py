"""Two-coloured blobs with silhouettes, for part segmentation."""

from __future__ import annotations

from dataclasses import replace

import torch

from raylift.core.generators import stable_hash
from raylift.core.types import Batch
from raylift.geometry.cameras import pixel_centers
from raylift.models.part_segmentation import recipes as part_segmentation
from raylift.models.part_segmentation.config import PartSegmentationConfig


def small_config(**values: object) -> PartSegmentationConfig:
    """The model as small as it gets, with untrained features."""
    config: PartSegmentationConfig = part_segmentation.test().model
    return replace(config, **values)  # type: ignore[arg-type]


def blobs(config: PartSegmentationConfig, count: int, dtype: torch.dtype = torch.float32) -> Batch:
    """Discs, each at a place of its own, red on the left and blue on the right, on white."""
    draw = torch.Generator().manual_seed(0)
    grid = pixel_centers(config.image_px, config.image_px)
    centers = 0.3 * (2 * torch.rand(count, 1, 1, 2, generator=draw) - 1)
    offset = grid - centers
    mask = (offset.norm(dim=-1) < 0.5)[:, None].float()
    left = (offset[..., 0] < 0)[:, None].float()
    paint = (
        left * torch.tensor([1.0, 0.1, 0.1])[:, None, None] + (1 - left) * torch.tensor([0.1, 0.1, 1])[:, None, None]
    )
    names = tuple(f"blob-{index}#0" for index in range(count))
    return Batch(
        names,
        torch.tensor([stable_hash(name) for name in names]),
        {"image": (mask * paint + 1 - mask).to(dtype), "mask": mask.to(dtype)},
    )
