"""Scores of recognised objects: calibration of classes, and outlines of which a part is hidden.

Errors of poses are in ``metrics.rotation_symmetry``.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.optimize import minimize_scalar
from scipy.stats import rankdata

from raylift.metrics.iou import iou

NUM_BINS = 15
"""Bins of the calibration error, as in Guo et al. 2017."""
LEAST_LOG_PROB = math.log(1e-6)
"""Log-probabilities below it count as this one: a single sure mistake must not decide a mean."""
MOST_TEMPERATURE = 20.0
THRESHOLD = 0.5
"""Coverage from which a pixel belongs to an outline."""
BOUNDARY_TOLERANCE = 0.008
"""Distance within which two boundaries agree, as a fraction of the image's diagonal (Perazzi et al. 2016)."""


# --- classes --------------------------------------------------------------------------------------------------------


def expected_calibration_error(
    confidence: Float[np.ndarray, "N"], is_right: Bool[np.ndarray, "N"], num_bins: int = NUM_BINS
) -> float:
    """The expected calibration error, in [0, 1]: sum_b n_b / N |accuracy_b - confidence_b| (Guo et al. 2017, eq. 5).

    Args:
        confidence: probability of the chosen class, in [0, 1]; bins are of equal width.
        is_right: whether the chosen class is the true one.

    Returns:
        0 if each bin is right as often as it claims; NaN without samples.
    """
    if not len(confidence):
        return math.nan
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    gaps = np.bincount(bins, weights=is_right.astype(np.float64) - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(confidence))


def negative_log_likelihood(log_probs: Float[np.ndarray, "N C"], truth: Int[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """``-log p`` of the true class; at most 13.8, see ``LEAST_LOG_PROB``."""
    return -np.maximum(log_probs[np.arange(len(truth)), truth], LEAST_LOG_PROB)


def tempered(log_probs: Float[np.ndarray, "N C"], temperature: float) -> Float[np.ndarray, "N C"]:
    """Log-probabilities proportional to ``p^(1 / temperature)``; the most likely class stays."""
    scaled = np.maximum(log_probs.astype(np.float64), LEAST_LOG_PROB) / temperature
    shifted = scaled - scaled.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_temperature(log_probs: Float[np.ndarray, "N C"], truth: Int[np.ndarray, "N"]) -> float:
    """The temperature with the least mean negative log-likelihood (Guo et al. 2017, section 4.2).

    The likelihood is unimodal in the temperature. The result is between 1 / 20 and 20; without samples it is 1.
    """
    if not len(truth):
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(negative_log_likelihood(tempered(log_probs, math.exp(log_temperature)), truth).mean())

    bound = math.log(MOST_TEMPERATURE)
    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-5}).x)


def area_under_curve(scores: Float[np.ndarray, "N"], is_positive: Bool[np.ndarray, "N"]) -> float | None:
    """The area under the receiver operating characteristic: how often a positive's score is above a negative's.

    Ties count a half (Mann-Whitney). None without positives or without negatives.
    """
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(scores)[is_positive].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


# --- outlines -------------------------------------------------------------------------------------------------------


def outline_iou(predicted: Float[np.ndarray, "H W"], truth: Float[np.ndarray, "H W"]) -> float:
    """Intersection over union of an image's pixels of at least a half, in [0, 1]; two empty outlines agree: 1."""
    return iou(predicted >= THRESHOLD, truth >= THRESHOLD)


def boundary_f(predicted: Float[np.ndarray, "H W"], truth: Float[np.ndarray, "H W"]) -> float:
    """The F-measure of two outlines' boundaries, in [0, 1] (Perazzi et al. 2016, section 4).

    Precision is the share of our boundary within ``BOUNDARY_TOLERANCE`` of the true one, recall that of the true one
    near ours. The edge of the image is no boundary. Two outlines without one agree: 1.
    """
    ours, theirs = _boundary(predicted), _boundary(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    reach = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*truth.shape))
    precision, recall = (
        float((distance_transform_edt(~to)[of] <= reach).mean()) for of, to in ((ours, theirs), (theirs, ours))
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(outline: Float[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    inside = outline >= THRESHOLD
    return np.asarray(inside & ~binary_erosion(inside, border_value=1))


def hidden_iou(
    amodal: Float[np.ndarray, "H W"],
    visible: Float[np.ndarray, "H W"],
    true_amodal: Float[np.ndarray, "H W"],
    true_visible: Float[np.ndarray, "H W"],
) -> float:
    """Intersection over union of the hidden parts: what belongs to the object and is not visible."""
    ours = (amodal >= THRESHOLD) & (visible < THRESHOLD)
    return iou(ours, (true_amodal >= THRESHOLD) & (true_visible < THRESHOLD))


def occluder_auc(
    occluder: Float[np.ndarray, "H W"], true_amodal: Float[np.ndarray, "H W"], true_visible: Float[np.ndarray, "H W"]
) -> float | None:
    """How well an occluder map separates the object's hidden pixels from its visible ones, see ``area_under_curve``.

    Only the object's own pixels count: whether an occluder goes on beyond it is not known.
    """
    own = true_amodal >= THRESHOLD
    return area_under_curve(occluder[own], true_visible[own] < THRESHOLD)
