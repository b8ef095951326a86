"""Volumetric intersection over union."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


def iou(inside: Bool[np.ndarray, "..."], truth: Bool[np.ndarray, "..."]) -> float:
    """Intersection over union of two sets, given as membership of the same points: |A and B| / |A or B|, in [0, 1].

    Two empty sets agree: 1.
    """
    union = int(np.count_nonzero(inside | truth))
    return 1.0 if union == 0 else int(np.count_nonzero(inside & truth)) / union


def batch_iou(inside: Bool[Tensor, "B N"], truth: Bool[Tensor, "B N"]) -> Float[Tensor, "B"]:
    """``iou`` of every row, float64, on the tensors' device."""
    union = (inside | truth).sum(dim=1).double()
    both = (inside & truth).sum(dim=1).double()
    return both.div(union.clamp(min=1)).masked_fill(union == 0, 1.0)
