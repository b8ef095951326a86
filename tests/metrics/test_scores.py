"""Score tables have the same summary in whatever order their scores come."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raylift.metrics.scores import Score, ScoreTable, mean_of, median_of


def _scores(count: int) -> list[Score]:
    rng = np.random.default_rng(count)
    return [
        Score(
            f"object-{k:03d}#0",
            ("chair", "sofa")[k % 2],
            {"occnet/iou": float(rng.random()), "occnet/chamfer_l1": k / 7},
        )
        for k in range(count)
    ]


@given(st.integers(1, 30), st.randoms())
def test_the_order_of_scores_does_not_matter(count: int, random: object) -> None:
    scores = _scores(count)
    whole, total = ScoreTable(), ScoreTable()
    for score in scores:
        whole.add(score)
    shuffled = list(scores)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for score in [*shuffled, scores[0]]:  # one object scored twice counts once
        total.add(score)
    assert total.rows == whole.rows
    for metric in whole.metrics:
        for category in (None, *whole.categories):
            assert total.summary(metric, category) == whole.summary(metric, category)
    assert total.worst("occnet/iou", 3, True) == whole.worst("occnet/iou", 3, True)


def test_mean_and_median_are_numpy_s() -> None:
    values = list(np.random.default_rng(0).normal(size=101))
    assert math.isclose(mean_of(values), float(np.mean(values)), rel_tol=1e-12)
    assert median_of(values) == float(np.median(values))
    assert median_of(values[:100]) == float(np.median(values[:100]))
    assert math.isnan(mean_of([]))
    assert math.isnan(median_of([]))


def test_worst_knows_the_direction() -> None:
    table = ScoreTable()
    for score in _scores(6):
        table.add(score)
    assert table.worst("occnet/chamfer_l1", 2, higher_is_better=False)[0].id == "object-005#0"
    worst = table.worst("occnet/iou", 6, higher_is_better=True)
    assert [row.values["occnet/iou"] for row in worst] == sorted(table.values("occnet/iou"))


def test_a_metric_that_some_objects_lack() -> None:
    table = ScoreTable()
    table.add(Score("a", "x", {"color/psnr": 20.0}))
    table.add(Score("b", "x", {}))
    assert table.summary("color/psnr").count == 1
    assert [row.id for row in table.worst("color/psnr", 5, True)] == ["a"]
