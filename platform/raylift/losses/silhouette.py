"""How well a predicted silhouette fits the true one.

Adaptive-gradient paper, equation 1; shelf-supervised paper, equation 5; CMR's and UMR's masks.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def silhouette_iou_loss(predicted: Float[Tensor, "B *S"], truth: Float[Tensor, "B *S"]) -> Float[Tensor, "B"]:
    """One minus the soft intersection over union of two silhouettes.

    Adaptive-gradient paper, equation 1; shelf-supervised paper, equation 5.

    L = 1 - |S_real * S_pred|_1 / |S_real + S_pred - S_real * S_pred|_1, before the expectation over images.

    Args:
        predicted, truth: coverage in [0, 1].

    Returns:
        In [0, 1]; two empty silhouettes agree: 0.
    """
    both = (predicted * truth).flatten(1).sum(dim=1)
    either = (predicted + truth - predicted * truth).flatten(1).sum(dim=1)
    empty = either <= 0
    ratio = both / torch.where(empty, torch.ones_like(either), either)
    return 1 - torch.where(empty, torch.ones_like(ratio), ratio)


def silhouette_distance_loss(
    predicted: Float[Tensor, "B H W"], outside_distance: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Coverage times its distance outside of the true silhouette (UMR's and CMR's distance-transform loss).

    Unlike the IoU, it has a gradient without any overlap.

    Args:
        predicted: coverage in [0, 1].
        outside_distance: distance to the true silhouette in normalised coordinates, 0 inside.
    """
    return predicted * outside_distance
