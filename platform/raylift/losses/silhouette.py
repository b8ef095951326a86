"""How well a predicted silhouette fits the seen one (adaptive-gradient paper, equation 1; CMR's and UMR's masks)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def silhouette_iou_loss(predicted: Float[Tensor, "B *S"], truth: Float[Tensor, "B *S"]) -> Float[Tensor, "B"]:
    """One minus the soft intersection over union of two silhouettes (adaptive-gradient paper, equation 1).

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


def outside_mask_error(
    predicted: Float[Tensor, "B H W"], outside_distance: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Coverage times how far outside of the true silhouette it lies (UMR's and CMR's distance-transform loss).

    Unlike the IoU it pulls on what does not overlap at all.

    Args:
        predicted: coverage in [0, 1].
        outside_distance: distance to the true silhouette in normalised coordinates, 0 inside.
    """
    return predicted * outside_distance


def inside_mask_error(
    predicted: Float[Tensor, "B H W"], inside_distance: Float[Tensor, "B H W"]
) -> Float[Tensor, "B H W"]:
    """Missing coverage times how deep inside of the true silhouette it misses; the counterpart of the above.

    Args:
        inside_distance: distance to the background in normalised coordinates, 0 outside.
    """
    return (1 - predicted) * inside_distance


def boundary_coverage_error(
    projected: Float[Tensor, "B V 2"], boundary: Float[Tensor, "B P 2"], exists: Bool[Tensor, "B P"]
) -> Float[Tensor, "B P"]:
    """How far the nearest projected vertex is from each point of the true outline (CMR's boundary loss).

    Args:
        projected: vertices in normalised image coordinates.
        boundary: points of the silhouette's outline, same coordinates.
        exists: which of them are real rather than padding.

    Returns:
        Squared distances, 0 for padding.
    """
    squared = (boundary[:, :, None] - projected[:, None]).square().sum(-1).min(dim=2).values
    return squared.masked_fill(~exists, 0.0)
