"""Calibration, curves and outlines in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from raylift.metrics.recognition import (
    area_under_curve,
    boundary_f,
    expected_calibration_error,
    fit_temperature,
    hidden_iou,
    negative_log_likelihood,
    occluder_auc,
    outline_iou,
    tempered,
)


def test_a_bin_that_is_right_as_often_as_it_claims_has_no_error() -> None:
    confidence = np.array([0.75] * 4 + [0.5] * 2)
    is_right = np.array([True, True, True, False, True, False])
    assert expected_calibration_error(confidence, is_right) == 0.0
    # Over bins, gaps do not cancel: 0.25 too sure in one, 0.5 too unsure in the other.
    is_right = np.array([True, True, False, False, True, True])
    assert expected_calibration_error(confidence, is_right) == pytest.approx((4 * 0.25 + 2 * 0.5) / 6)
    assert expected_calibration_error(np.array([1.0]), np.array([False])) == 1.0
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_the_fitted_temperature_undoes_one() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5)) * 2
    log_probs = tempered(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), 1.0)
    truth = np.array([rng.choice(5, p=np.exp(row)) for row in log_probs])
    assert fit_temperature(log_probs, truth) == pytest.approx(1.0, abs=0.06)
    sharp = tempered(log_probs, 0.4)
    temperature = fit_temperature(sharp, truth)
    assert temperature == pytest.approx(2.5, abs=0.15)
    assert (tempered(sharp, temperature).argmax(axis=1) == sharp.argmax(axis=1)).all()
    losses = [negative_log_likelihood(tempered(sharp, t), truth).mean() for t in (temperature, 1.0, 5.0)]
    assert losses[0] == min(losses)
    assert fit_temperature(np.zeros((0, 5)), np.zeros(0, int)) == 1.0


def test_a_single_sure_mistake_costs_a_bounded_amount() -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[1.0, 0.0]]))
    assert negative_log_likelihood(log_probs, np.array([1]))[0] == pytest.approx(-math.log(1e-6))
    assert np.isfinite(tempered(log_probs, 2.0)).all()


def test_a_temperature_above_1_is_less_sure() -> None:
    shares = np.sqrt([0.9, 0.1])
    np.testing.assert_allclose(np.exp(tempered(np.log([[0.9, 0.1]]), 2.0))[0], shares / shares.sum(), rtol=1e-12)


def test_the_curve_counts_pairs_in_order() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[positive] for n in scores[~positive]]
    assert area_under_curve(scores, positive) == pytest.approx(np.mean(pairs))
    assert area_under_curve(scores, np.ones(40, bool)) is None


def slab(left: int, right: int, side: int = 10) -> np.ndarray:
    outline = np.zeros((side, side), np.float32)
    outline[2:8, left:right] = 1
    return outline


def test_outlines() -> None:
    whole, seen = slab(0, 8), slab(4, 8)
    assert outline_iou(slab(2, 8), whole) == pytest.approx(6 / 8)
    assert outline_iou(0 * seen, 0 * seen) == 1.0
    # Ours takes 2..8 for the whole and 4..8 for the seen part: 2..4 of the hidden 0..4.
    assert hidden_iou(slab(2, 8), seen, whole, seen) == pytest.approx(2 / 4)
    assert hidden_iou(seen, seen, whole, seen) == 0.0


def test_only_the_objects_own_pixels_decide_on_its_occluder() -> None:
    whole, seen = slab(0, 8), slab(4, 8)
    beyond = slab(8, 10)  # an occluder that goes on beyond the object is no mistake
    assert occluder_auc(slab(0, 4) + beyond, whole, seen) == 1.0
    assert occluder_auc(seen, whole, seen) == 0.0
    assert occluder_auc(np.full_like(seen, 0.3), whole, seen) == 0.5
    assert occluder_auc(seen, whole, whole) is None


def test_boundaries_agree_within_a_hundredth_of_the_diagonal() -> None:
    """At 100 pixels the reach is 2 pixels: ceil(0.008 * 141)."""

    def box(top: int, left: int, height: int, width: int) -> np.ndarray:
        outline = np.zeros((100, 100), np.float32)
        outline[top : top + height, left : left + width] = 1
        return outline

    whole = box(20, 20, 40, 40)
    assert boundary_f(whole, whole) == boundary_f(box(21, 21, 38, 38), whole) == boundary_f(0 * whole, 0 * whole) == 1
    # 2 pixels within, the corners are too far.
    assert 0.9 < boundary_f(box(22, 22, 36, 36), whole) < 1
    assert boundary_f(box(26, 26, 28, 28), whole) == 0
    assert boundary_f(0 * whole, whole) == boundary_f(whole, 0 * whole) == 0
    # Half of the width: three of our sides, 40 + 2 * 20 - 2 pixels, and 2 more of the fourth at either end, of 116 are
    # on the true boundary; of its 156 pixels 78 are ours, and 2 more at either end are near.
    half = boundary_f(box(20, 20, 40, 20), whole)
    precision, recall = (78 + 2 * 2) / 116, (78 + 2 * 2) / 156
    assert half == pytest.approx(2 * precision * recall / (precision + recall))
    # Where the image ends, the object does not: one side is a boundary, and it is moved out of reach.
    assert boundary_f(box(0, 0, 100, 60), box(0, 0, 100, 50)) == 0
    assert boundary_f(box(0, 0, 100, 52), box(0, 0, 100, 50)) == 1
