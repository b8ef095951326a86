"""Schedules against torch's own."""

from __future__ import annotations

import pytest
import torch

from raylift.config.learning_rate import LearningRateConfig, learning_rate_factor
from raylift.core.errors import ConfigError


@pytest.mark.parametrize("num_steps", [20, 97, 1000])
@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.5])
def test_one_cycle_is_torchs(num_steps: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=num_steps, pct_start=warmup)
    config = LearningRateConfig(warmup_fraction=warmup)
    for step in range(num_steps):
        assert 0.02 * learning_rate_factor(config, step, num_steps) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-14
        )
        optimizer.step()
        if step < num_steps - 1:
            theirs.step()


def test_one_cycle_survives_the_shortest_runs() -> None:
    for num_steps in (1, 2, 3, 10):
        factors = [
            learning_rate_factor(LearningRateConfig(warmup_fraction=0.1), step, num_steps) for step in range(num_steps)
        ]
        assert all(0 < factor <= 1 for factor in factors)


def test_inverse_time_and_cosine_have_their_closed_forms() -> None:
    assert learning_rate_factor(LearningRateConfig("inverse_time", decay=5e-4), 2000, 10) == pytest.approx(0.5)
    cosine = LearningRateConfig("cosine")
    assert [learning_rate_factor(cosine, step, 4) for step in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])
    assert learning_rate_factor(LearningRateConfig("constant"), 5, 10) == 1.0


@pytest.mark.parametrize("values", [{"warmup_fraction": 0.0}, {"start_divisor": 0.5}, {"decay": -1.0}])
def test_impossible_schedules_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LearningRateConfig(**values)
