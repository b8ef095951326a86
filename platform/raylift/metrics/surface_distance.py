"""Chamfer distances, normal consistency and F-scores of two surface samples, from their nearest-neighbour distances.

Papers use one name for different metrics, so these are the parts; the named protocols in ``protocols`` combine them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from raylift.metrics.nearest import Nearest


def mean_distance(distances: Float[np.ndarray, "N"]) -> float:
    """The mean distance."""
    return float(distances.mean())


def mean_square(distances: Float[np.ndarray, "N"]) -> float:
    """The mean squared distance."""
    return float(np.square(distances).mean())


def fraction_within(distances: Float[np.ndarray, "N"], threshold: float) -> float:
    """The fraction of distances below a threshold, in [0, 1]: precision or recall (Knapitsch et al. 2017)."""
    return float((distances < threshold).mean())


def chamfer_l1(near: Nearest) -> float:
    """(accuracy + completeness) / 2 of mean distances (Mescheder et al. 2019)."""
    return 0.5 * (mean_distance(near.accuracy) + mean_distance(near.completeness))


def chamfer_l2(near: Nearest) -> float:
    """(mean square + mean square) / 2 (Chibane et al. 2020)."""
    return 0.5 * chamfer_sum(near)


def chamfer_sum(near: Nearest) -> float:
    """Mean square + mean square (Park et al. 2019, Gkioxari et al. 2019)."""
    return mean_square(near.accuracy) + mean_square(near.completeness)


def normal_consistency(near: Nearest) -> float:
    """Mean absolute cosine with the nearest point's normal, averaged over both directions: in [0, 1]."""
    return 0.5 * float(near.accuracy_cosine.mean() + near.completeness_cosine.mean())


def harmonic_mean(precision: float, recall: float) -> float:
    """F-score: 2 P R / (P + R), 0 when both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
