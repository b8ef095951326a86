"""How soon a curve gets somewhere, and which of two is sooner."""

from __future__ import annotations

import pytest

from raylift.evaluation.comparison.curves import rises, saved_share, steps_to_level

RISING = [(100, 0.1), (200, 0.3), (300, 0.5)]


@pytest.mark.parametrize(("level", "step"), [(0.05, 100), (0.2, 150), (0.5, 300), (0.6, None)])
def test_a_level_is_met_between_points(level: float, step: float | None) -> None:
    assert steps_to_level(RISING, level) == (None if step is None else pytest.approx(step))


def test_losses_fall_to_a_level() -> None:
    assert steps_to_level([(0, 4.0), (10, 2.0)], 3.0, higher_is_better=False) == pytest.approx(5.0)
    assert (rises("val/iou"), rises("loss/total")) == (True, False)


def test_the_share_saved_is_measured_where_both_get() -> None:
    fast = [(100, 0.5), (200, 0.8), (300, 0.9)]
    # Slow ends at 0.5, where fast was at step 100: 200 of 300 steps are saved.
    assert saved_share(fast, RISING) == pytest.approx(2 / 3)
    assert saved_share(RISING, fast) == pytest.approx(-2 / 3)
    assert saved_share(RISING, RISING) == 0.0


def test_only_steps_that_both_made_count() -> None:
    longer = [*RISING, (400, 0.9)]
    assert saved_share(longer, RISING) == 0.0
    assert saved_share(RISING[:1], RISING) is None
    assert saved_share([(400, 0.1), (500, 0.2)], RISING) is None
