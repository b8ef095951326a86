"""How much memory a volume and its pictures take: asked before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence

from raylift.rendering.volume.cells import num_lanes

GRADIENT_TASKS = 8
"""Least number of tasks of a backward pass, if memory allows."""
PART_BYTES = 8 * 2**20
"""Most memory that parts of one gradient may take beyond the first one."""


def num_gradient_parts(padded_shape: Sequence[int], channels: int, itemsize: int) -> int:
    """Parts of a backward pass per volume, each with a gradient of its own; it depends on the shapes alone.

    Args:
        padded_shape: [B, X, Y, Z].
    """
    cells = padded_shape[0] * padded_shape[1] * padded_shape[2] * padded_shape[3]
    affordable = 1 + PART_BYTES // max(cells * (channels + 1) * itemsize, 1)
    return int(min(-(-GRADIENT_TASKS // max(padded_shape[0], 1)), affordable))


def bytes_needed(
    batch: int,
    channels: int,
    resolution: int | Sequence[int],
    num_views: int,
    image_px: int,
    num_samples: int = 48,
    itemsize: int = 4,
    dense: bool = False,
) -> int:
    """Peak memory in bytes of a volume with its gradient and of rendering it there and back.

    Args:
        batch: number of volumes.
        channels: of the features, without the density.
        resolution: cells per axis, one number or three.
        itemsize: bytes per value; rendering is in float32 at least.
        dense: by the plain torch renderer, which keeps every sample, instead of the ray-marcher.
    """
    sizes = (resolution,) * 3 if isinstance(resolution, int) else tuple(resolution)
    padded = (batch, *(size + 2 for size in sizes))
    cells = padded[0] * padded[1] * padded[2] * padded[3]
    rays = num_views * image_px**2
    # Values, a padded copy of them, gradients of both; and the parts of the gradient beyond the first.
    packed = num_lanes(channels) + 1
    copies = 2 * (channels + 1) if dense else packed * (1 + num_gradient_parts(padded, packed - 1, itemsize))
    volumes = cells * (2 * (channels + 1) + copies)
    # Some thirty vectors of three per ray are kept by autograd; pictures and their gradients.
    images = rays * (90 + 4 * (channels + 2))
    # The ray-marcher keeps the opacity of each sample for the backward pass.
    samples = rays * num_samples * (3 * (channels + 1) + 24 if dense else 1)
    return itemsize * (volumes + images + samples)
