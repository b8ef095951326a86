"""Poses as bins of three angles: pose estimation as classification (Tulsiani and Malik 2015; StarMap's baseline).

Azimuth, elevation and roll each have N bins of 360 / N degrees. The first azimuth bin begins at 0; the first bins of
elevation and roll are centred on 0, so that upright images are in the middle of a bin and not on an edge.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

ANGLES = ("azimuth", "elevation", "roll")


def bin_centers(num_bins: int, like: Tensor) -> Float[Tensor, "3 N"]:
    """Centres of all bins, radians, with the device and type of ``like``."""
    size = 2 * math.pi / num_bins
    centers = size * torch.arange(num_bins, device=like.device, dtype=like.dtype)
    return torch.stack([centers + size / 2, centers, centers])


def bins_of(angles: Float[Tensor, "B 3"], num_bins: int) -> Int[Tensor, "B 3"]:
    """The bin of each angle in radians."""
    first = bin_centers(num_bins, angles)[:, 0]
    offset = (angles - first) * (num_bins / (2 * math.pi))
    return torch.floor(offset + 0.5).long() % num_bins
