"""CPU time by stage; no test is about how much."""

from __future__ import annotations

import pytest

from raylift.core.stopwatch import Stopwatch


def work() -> int:
    return sum(number * number for number in range(20000))


def test_stages_add_up_to_at_most_the_whole() -> None:
    watch = Stopwatch()
    with watch.stage("whole"):
        for _ in range(3):
            with watch.stage("first"):
                work()
        with watch.stage("second"):
            work()
    assert list(watch.seconds) == ["first", "second", "whole"]
    assert 0 < watch.seconds["first"] + watch.seconds["second"] <= watch.seconds["whole"]
    before = watch.seconds["first"]
    with watch.stage("first"):
        work()
    assert watch.seconds["first"] > before


def test_a_stage_that_fails_is_measured() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="wrong"), watch.stage("broken"):
        raise ValueError("wrong")
    assert list(watch.seconds) == ["broken"]
