"""Alarms ring for what a rising curve hides, once each time; each has a failure that rings it and a healthy case."""

from __future__ import annotations

import math

import pytest

from raylift.evaluation.alarms import (
    COLLAPSED_CAMERAS,
    COLLAPSED_CLASSES,
    COLLAPSED_POSES,
    DEAD_DISCRIMINATOR,
    FLAT_SHAPES,
    FLOATERS,
    MEANINGS,
    PAINTED_BACKGROUND,
    AlarmBell,
    collapsed_cameras,
    flat_shapes,
    floaters,
    model_alarms,
)


def test_collapse_is_judged_by_what_the_images_show() -> None:
    assert collapsed_cameras(5.0, 100.0) == 1.0
    assert collapsed_cameras(5.0, None) == 1.0
    assert collapsed_cameras(5.0, 10.0) == 0.0, "all images are from one side"
    assert collapsed_cameras(60.0, None) == collapsed_cameras(60.0, 80.0) == 0.0
    # Circular variance 0.42 where the images are from all around; 0.71 is uneven and no collapse.
    assert collapsed_cameras(60.0, 150.0) == 1.0
    assert collapsed_cameras(90.0, 150.0) == 0.0


def test_one_hypothesis_that_always_wins_is_a_collapse() -> None:
    assert collapsed_cameras(100.0, None, hypothesis_entropy=0.2) == 1.0
    assert collapsed_cameras(100.0, None, hypothesis_entropy=0.9) == 0.0
    assert collapsed_cameras(10.0, 10.0, hypothesis_entropy=0.2) == 0.0, "all images are from one side"


def test_flat_shapes_are_thin_or_shallow_or_fit_one_view() -> None:
    assert flat_shapes(0.01) == 1.0
    assert flat_shapes(0.5) == flat_shapes(math.nan) == 0.0
    assert flat_shapes(0.5, depth_ratio_median=0.4) == 1.0
    assert flat_shapes(0.5, depth_ratio_median=0.8, unseen_gap=-0.1) == 0.0
    assert flat_shapes(0.5, unseen_gap=-0.3) == 1.0


def test_floaters_are_loose_parts_of_some_volume() -> None:
    assert floaters(0.9) == 1.0
    assert floaters(0.995) == floaters(0.0) == floaters(math.nan) == 0.0


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        ({"painted_background": 0.3}, {PAINTED_BACKGROUND: 1.0}),
        ({"painted_background": 0.0}, {PAINTED_BACKGROUND: 0.0}),
        ({"real_sign": 0.999, "fake_diversity": 0.8}, {DEAD_DISCRIMINATOR: 1.0}),
        ({"real_sign": -1.0}, {DEAD_DISCRIMINATOR: 1.0}),
        ({"real_sign": 0.6, "fake_diversity": 0.01}, {DEAD_DISCRIMINATOR: 1.0}),
        ({"real_sign": 0.6, "fake_diversity": 0.8}, {DEAD_DISCRIMINATOR: 0.0}),
        ({"something_else": 7.0}, {}),
    ],
)
def test_a_model_reports_what_only_it_can_know(statistics: dict[str, float], expected: dict[str, float]) -> None:
    assert model_alarms(statistics) == expected


def test_every_alarm_says_what_to_do() -> None:
    known = {COLLAPSED_CAMERAS, FLAT_SHAPES, FLOATERS, PAINTED_BACKGROUND, DEAD_DISCRIMINATOR}
    known |= {COLLAPSED_CLASSES, COLLAPSED_POSES}
    assert set(MEANINGS) == known
    assert all(":" in meaning or ";" in meaning for meaning in MEANINGS.values())


def test_an_alarm_rings_once_and_again_when_it_comes_back() -> None:
    bell = AlarmBell()
    on, off = {COLLAPSED_CAMERAS: 1.0, FLAT_SHAPES: 0.0}, {COLLAPSED_CAMERAS: 0.0, FLAT_SHAPES: 0.0}
    heard = [list(bell.news(metrics)) for metrics in (off, on, on, {"loss/total": 1.0}, off, on)]
    assert heard == [[], [COLLAPSED_CAMERAS], [], [], [], [COLLAPSED_CAMERAS]]
