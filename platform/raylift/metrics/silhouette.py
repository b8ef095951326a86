"""Similarity of silhouettes: UMR's soft and UNICORN's hard intersection over union."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from raylift.core.errors import DataError
from raylift.metrics.iou import iou

THRESHOLD = 0.5


def mask_soft(predicted: Float[np.ndarray, "H W"], truth: Float[np.ndarray, "H W"]) -> float:
    """``mask_soft`` (UMR, CMR): sum(a b) / sum(a + b - a b) of coverage in [0, 1], without a threshold.

    Two empty silhouettes agree: 1.

    Raises:
        DataError: the two differ in size.
    """
    a, b = _same_size(predicted, truth)
    either = float((a + b - a * b).sum())
    return 1.0 if either <= 0 else float((a * b).sum()) / either


def mask_hard(predicted: Float[np.ndarray, "H W"], truth: Float[np.ndarray, "H W"]) -> float:
    """``mask_hard`` (UNICORN): intersection over union of coverage of at least 0.5, at the truth's resolution.

    Raises:
        DataError: the two differ in size: render at the truth's resolution.
    """
    a, b = _same_size(predicted, truth)
    return iou(a >= THRESHOLD, b >= THRESHOLD)


def _same_size(predicted: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if predicted.shape != truth.shape:
        raise DataError(
            f"silhouettes have {predicted.shape} and {truth.shape} pixels", "render at the resolution of the true one"
        )
    return predicted.astype(np.float64), truth.astype(np.float64)
