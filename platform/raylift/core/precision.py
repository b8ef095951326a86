"""Precision of values that bfloat16 autocast must not round."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Convert to float32; float64 stays. In bfloat16 a coordinate is rounded to 1/256 of itself, about a pixel."""
    return values if values.dtype == torch.float64 else values.float()
