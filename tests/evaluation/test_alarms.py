"""Alarms ring for what a rising curve hides, once each time."""

from __future__ import annotations

from raylift.evaluation.alarms import COLLAPSED_CAMERAS, FLAT_SHAPES, AlarmBell, collapsed_cameras, flat_shapes


def test_collapse_is_judged_by_what_the_images_show() -> None:
    assert collapsed_cameras(5.0, 100.0) == 1.0
    assert collapsed_cameras(5.0, None) == 1.0
    assert collapsed_cameras(5.0, 10.0) == 0.0, "all images are from one side"
    assert collapsed_cameras(60.0, 100.0) == 0.0
    assert flat_shapes(0.01) == 1.0
    assert flat_shapes(0.5) == flat_shapes(float("nan")) == 0.0


def test_an_alarm_rings_once_and_again_when_it_comes_back() -> None:
    bell = AlarmBell()
    on, off = {COLLAPSED_CAMERAS: 1.0, FLAT_SHAPES: 0.0}, {COLLAPSED_CAMERAS: 0.0, FLAT_SHAPES: 0.0}
    heard = [list(bell.news(metrics)) for metrics in (off, on, on, {"loss/total": 1.0}, off, on)]
    assert heard == [[], [COLLAPSED_CAMERAS], [], [], [], [COLLAPSED_CAMERAS]]
