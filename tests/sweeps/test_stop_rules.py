"""Each rule fires when it should, and only then."""

from __future__ import annotations

import math

import pytest

from raylift.core.errors import ConfigError
from raylift.sweeps.stop_rules import (
    Observation,
    StopConfig,
    collapsed_critic,
    no_shape_yet,
    non_finite,
    reason_to_stop,
)


def _critic(*losses: tuple[float, float]) -> list[Observation]:
    return [
        Observation(10 * index, {"loss/critic_real": real, "loss/critic_fake": fake})
        for index, (real, fake) in enumerate(losses, 1)
    ]


@pytest.mark.parametrize("name", ["loss/total", "val/iou", "gradient_norm/generator"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_ends_the_trial(name: str, value: float) -> None:
    history = [Observation(1, {"loss/total": 1.0}), Observation(2, {name: value, "epoch": 0.0})]
    assert non_finite(history, StopConfig()) == f"{name} is not finite at step 2"
    assert non_finite(history[:1], StopConfig()) is None
    assert non_finite([], StopConfig()) is None
    assert non_finite(history, StopConfig(non_finite=False)) is None
    assert non_finite([Observation(1, {"throughput/step_s": value})], StopConfig()) is None


def test_a_critic_that_is_sure_of_everything_has_collapsed() -> None:
    config = StopConfig(critic_loss=0.02, critic_windows=3)
    assert collapsed_critic(_critic((0.7, 0.7), *[(0.001, 0.01)] * 3), config) is not None
    assert collapsed_critic(_critic(*[(0.001, 0.01)] * 2), config) is None, "too soon to say"
    assert collapsed_critic(_critic(*[(0.001, 0.01)] * 2, (0.3, 0.01)), config) is None, "it has come back"
    assert collapsed_critic(_critic(*[(0.001, 0.5)] * 5), config) is None, "sure of one half only"
    assert collapsed_critic(_critic(*[(0.0, 0.0)] * 5), StopConfig(critic_loss=0.0)) is None
    windows = _critic(*[(0.001, 0.01)] * 3)
    between = [windows[0], Observation(15, {"val/iou": 0.5}), *windows[1:]]
    assert "from step 10 to 30" in (collapsed_critic(between, config) or ""), "evaluations between do not count"
    assert collapsed_critic([Observation(1, {"loss/total": 0.0})] * 9, config) is None, "a model without a critic"


def test_no_shape_after_its_steps_ends_the_trial() -> None:
    def seen(step: int, thickness: float) -> Observation:
        return Observation(step, {"val/thickness_median": thickness})

    config = StopConfig(flat_steps=100, flat_below=0.05)
    assert no_shape_yet([seen(50, 0.0)], config) is None
    assert "no 3D at step 100: thickness 0.01" in (no_shape_yet([seen(50, 0.4), seen(100, 0.01)], config) or "")
    assert no_shape_yet([seen(50, 0.0), seen(100, 0.3)], config) is None
    assert no_shape_yet([seen(50, 0.0), Observation(120, {"loss/total": 1.0})], config) is None, "not looked at since"
    assert no_shape_yet([seen(200, 0.0)], StopConfig()) is None, "off unless asked for"


def test_the_reason_names_its_rule() -> None:
    history = [Observation(100, {"val/thickness_median": 0.0, "val/iou": math.nan})]
    config = StopConfig(flat_steps=100)
    assert (reason_to_stop(history, config) or "").startswith("non_finite: val/iou")
    config = StopConfig(flat_steps=100, non_finite=False)
    assert (reason_to_stop(history, config) or "").startswith("no_shape_yet: no 3D")
    assert reason_to_stop([Observation(1, {"loss/total": 1.0})], config) is None


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="critic_windows 0"):
        StopConfig(critic_windows=0)
