"""Which of two runs learns faster: the steps that each takes to a level that both reach."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Curve = Sequence[tuple[int, float]]
"""(step, value) pairs, ordered by step."""


def rises(metric: str) -> bool:
    """Whether higher is better for a curve: true for validation scores, not for losses."""
    return metric.startswith("val/")


def steps_to_level(curve: Curve, level: float, higher_is_better: bool = True) -> float | None:
    """The step at which a curve first reaches a level, linearly interpolated; None if it never does."""
    sign = 1.0 if higher_is_better else -1.0
    ordered = sorted(curve)
    if ordered and sign * (ordered[0][1] - level) >= 0:
        return float(ordered[0][0])
    for (step, value), (next_step, next_value) in pairwise(ordered):
        if sign * (next_value - level) >= 0:
            return step + (next_step - step) * (level - value) / (next_value - value)
    return None


def saved_share(left: Curve, right: Curve, higher_is_better: bool = True) -> float | None:
    """Steps that ``left`` saves, as a fraction of the common steps: 0.5 is half a run sooner, below 0 is later.

    Measured at the level that both reach: the worse of their last values within those steps. None if a curve has fewer
    than two points there.
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
