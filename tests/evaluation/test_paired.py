"""Intervals cover what they claim to, pairing takes out what pairs share, and few pairs decide nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from raylift.evaluation.comparison.paired import (
    ONE_SEED,
    Estimate,
    doubt,
    mean_estimate,
    object_scores,
    paired_difference,
    verdict,
)


def scores_of(values: np.ndarray) -> dict[str, float]:
    return {f"object{index}": float(value) for index, value in enumerate(values)}


def test_a_large_sample_has_students_interval() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 400)
    found = mean_estimate([scores_of(values)])
    assert found is not None
    half = stats.t.ppf(0.975, 399) * values.std(ddof=1) / 20
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05 * half)


def test_eight_objects_are_covered_as_often_as_claimed() -> None:
    """Plain percentiles cover 88 to 90 % here."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(300):
        found = paired_difference([scores_of(rng.normal(0.5, 1.0, 8))], [dict.fromkeys(scores_of(np.zeros(8)), 0.0)])
        assert found is not None
        hits += found.low <= 0.5 <= found.high
    assert 0.92 <= hits / 300 <= 0.985


def test_pairs_take_out_what_they_share() -> None:
    rng = np.random.default_rng(3)
    hard = rng.normal(0.0, 5.0, 20)
    better, worse = scores_of(hard + 0.2 + rng.normal(0, 0.1, 20)), scores_of(hard)
    gain = paired_difference([better], [worse])
    assert gain is not None
    assert verdict(gain, trained=False) == "confirmed"
    assert 0.1 < gain.low < gain.high < 0.3
    assert verdict(paired_difference([worse], [better]), trained=False) == "refuted"
    # The same numbers, but matched wrongly: nothing is certain any more.
    shuffled = dict(zip(worse, rng.permutation(list(worse.values())).tolist(), strict=True))
    assert verdict(paired_difference([better], [shuffled]), trained=False) == "undecided"


def test_one_training_decides_nothing_about_training() -> None:
    """Whatever the interval over objects is; two that agree may decide, and so may baselines, which are not trained."""
    better, worse = scores_of(np.linspace(1.0, 1.1, 20)), scores_of(np.linspace(0.0, 0.1, 20))
    one = paired_difference([better], [worse])
    two = paired_difference([better, better], [worse, worse])
    assert one is not None
    assert two is not None
    assert one.low > 0.9
    assert (verdict(one), doubt(one)) == ("undecided", ONE_SEED)
    assert (verdict(two), doubt(two)) == ("confirmed", "")
    assert (verdict(one, trained=False), doubt(one, trained=False)) == ("confirmed", "")


def test_seeds_that_disagree_widen_the_interval() -> None:
    objects = np.random.default_rng(4).normal(0.1, 0.02, 30)
    zero = scores_of(np.zeros(30))
    one = paired_difference([scores_of(objects)], [zero])
    three = paired_difference([scores_of(objects + by) for by in (-0.5, 0.0, 0.5)], [zero] * 3)
    assert one is not None
    assert three is not None
    assert (verdict(one, trained=False), verdict(three)) == ("confirmed", "undecided")
    assert (three.num_objects, three.num_seeds) == (30, 3)
    assert three.high - three.low > 10 * (one.high - one.low)


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_few_seeds_are_covered_as_often_as_claimed(num_seeds: int) -> None:
    """Drawing them anew alone covers 73 % with two and 80 % with three."""
    rng = np.random.default_rng(6)
    zero = scores_of(np.zeros(20))
    hits = 0
    for _ in range(200):
        of_seeds, of_objects = rng.normal(0.0, 1.0, (num_seeds, 1)), rng.normal(0.0, 1.0, 20)
        found = paired_difference([scores_of(row) for row in of_seeds + of_objects], [zero] * num_seeds)
        assert found is not None
        hits += found.low <= 0.0 <= found.high
    assert hits / 200 >= 0.93


def test_only_objects_that_all_have_are_paired() -> None:
    gain = paired_difference([{"a": 1.0, "b": 2.0}, {"a": 2.0}], [{"a": 0.0, "c": 9.0}, {"a": 0.0, "b": 9.0}])
    assert gain is not None
    assert (gain.mean, gain.num_objects, gain.num_seeds) == (1.5, 1, 2)
    assert paired_difference([{"a": 1.0}], [{"b": 1.0}]) is None
    assert mean_estimate([]) is None


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_few_pairs_decide_nothing_however_clear_they_are(count: int) -> None:
    gain = paired_difference([scores_of(np.full(count, 1.0))], [scores_of(np.zeros(count))])
    assert verdict(gain, trained=False) == "undecided"
    five = paired_difference([scores_of(np.ones(5))], [scores_of(np.zeros(5))])
    assert verdict(five, trained=False) == "confirmed"
    assert verdict(None) == "undecided"
    assert math.isnan(Estimate(1.0, math.nan, math.nan, 1).low)


def test_an_estimate_is_the_same_every_time() -> None:
    values = [scores_of(np.random.default_rng(5).normal(size=9)) for _ in range(2)]
    assert mean_estimate(values) == mean_estimate(values)


def test_views_of_an_object_are_averaged_and_what_is_no_number_is_left_out() -> None:
    rows = [
        {"method": "model", "id": "chair#0", "ifnet/iou": 0.2},
        {"method": "model", "id": "chair#3", "ifnet/iou": 0.4},
        {"method": "model", "id": "stool#0", "ifnet/iou": "nan"},
        {"method": "model", "id": "bench#0", "ifnet/iou": None},
        {"method": "retrieval", "id": "chair#0", "ifnet/iou": 0.9},
    ]
    assert object_scores(rows, "ifnet/iou") == {"chair": pytest.approx(0.3)}
    assert object_scores(rows, "ifnet/iou", "retrieval") == {"chair": 0.9}
