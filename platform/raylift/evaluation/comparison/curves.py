"""Which of two runs learns sooner: the steps that each takes to the level that both reach."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Curve = Sequence[tuple[int, float]]
"""(step, value), by step."""


def rises(metric: str) -> bool:
    """Whether a curve is better when it is higher: validation scores are, losses are not."""
    return metric.startswith("val/")


def steps_to_level(curve: Curve, level: float, higher_is_better: bool = True) -> float | None:
    """The step at which a curve first reaches a level, between two points by a straight line; None if it never does."""
    sign = 1.0 if higher_is_better else -1.0
    ordered = sorted(curve)
    if ordered and sign * (ordered[0][1] - level) >= 0:
        return float(ordered[0][0])
    for (step, value), (next_step, next_value) in pairwise(ordered):
        if sign * (next_value - level) >= 0:
            return step + (next_step - step) * (level - value) / (next_value - value)
    return None


def saved_share(left: Curve, right: Curve, higher_is_better: bool = True) -> float | None:
    """By how much sooner ``left`` is, as a share of the steps that both made: 0.5 is half a run sooner, below 0 later.

    Measured at the level that both end at or pass: the worse of their last values within those steps. None where a
    curve has fewer than two points there.
    """
    if min(len(left), len(right)) < 2:
        return None
    end = min(max(step for step, _ in left), max(step for step, _ in right))
    ours, theirs = (sorted((step, value) for step, value in curve if step <= end) for curve in (left, right))
    if min(len(ours), len(theirs)) < 2:
        return None
    level = (min if higher_is_better else max)(ours[-1][1], theirs[-1][1])
    ours_took = steps_to_level(ours, level, higher_is_better)
    theirs_took = steps_to_level(theirs, level, higher_is_better)
    assert ours_took is not None, "a curve's last value reaches the level"
    assert theirs_took is not None, "a curve's last value reaches the level"
    return (theirs_took - ours_took) / end
