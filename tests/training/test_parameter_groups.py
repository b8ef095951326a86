"""Parameter groups against closed forms and PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from raylift.config.learning_rate import LearningRateConfig
from raylift.config.optimizers import OPTIMIZERS, OptimizerConfig
from raylift.core.errors import CheckpointError, ConfigError
from raylift.training.parameter_groups import ParameterGroup, averaged, build_groups
from tests.training.toy import OneGroup, ToyModel

CONSTANT = LearningRateConfig(kind="constant")


def _group(**values: object) -> tuple[nn.Parameter, ParameterGroup]:
    parameter = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    return parameter, ParameterGroup("p", {"w": parameter}, OptimizerConfig(schedule=CONSTANT, **values))  # type: ignore[arg-type]


def _step(parameter: nn.Parameter, group: ParameterGroup, gradient: list[float], step: int = 0) -> float:
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return group.update(group.gradient_norm(), step, 10)


def test_clipping_scales_to_the_norm() -> None:
    parameter, group = _group(clip_norm=1.0)
    parameter.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    norm = group.gradient_norm()
    assert norm.item() == 5.0
    group.update(norm, 0, 10)
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8], dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_clip_norm_of_0_never_clips() -> None:
    parameter, group = _group(clip_norm=0.0)
    _step(parameter, group, [300.0, 400.0])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [300.0, 400.0]


def test_first_adamw_step_is_its_closed_form() -> None:
    parameter, group = _group(clip_norm=0.0, learning_rate=0.1, weight_decay=0.5)
    _step(parameter, group, [2.0, -7.0])
    # After one step Adam's direction is the gradient's sign; the decay multiplies by 1 - rate * decay.
    expected = torch.tensor([3.0 * 0.95 - 0.1, 4.0 * 0.95 + 0.1], dtype=torch.float64)
    torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-7)


def test_rates_follow_torchs_one_cycle() -> None:
    schedule = LearningRateConfig(kind="one_cycle")
    parameter = nn.Parameter(torch.zeros(1))
    group = ParameterGroup("p", {"w": parameter}, OptimizerConfig(learning_rate=0.02, schedule=schedule))
    theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.02, total_steps=25, cycle_momentum=False)
    for step in range(25):
        parameter.grad = torch.ones(1)
        assert group.update(group.gradient_norm(), step, 25) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        theirs.step()
        if step < 24:
            cycle.step()


def test_average_is_its_recursion_and_evaluation_sees_it() -> None:
    parameter, group = _group(ema_decay=0.9)
    expected = parameter.detach().clone()
    for step in range(20):
        _step(parameter, group, [1.0, -0.5 * step], step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
    torch.testing.assert_close(group.averages()["w"], expected, rtol=1e-12, atol=0)
    trained = parameter.detach().clone()
    with averaged([group]):
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=0)
    assert torch.equal(parameter.detach(), trained)


def test_an_average_forgets_half_in_its_half_life_of_images() -> None:
    parameter = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    config = OptimizerConfig(ema_half_life_images=600, learning_rate=1e-30, weight_decay=0.0, schedule=CONSTANT)
    group = ParameterGroup("p", {"w": parameter}, config, batch_size=60)
    group.num_updates = 10**6  # past the ramp
    with torch.no_grad():
        parameter.zero_()
    for _ in range(10):
        _step(parameter, group, [0.0])
    assert float(group.averages()["w"]) == pytest.approx(0.5)
    assert OptimizerConfig(ema_decay=0.9).average_decay(60) == 0.9
    with pytest.raises(ConfigError, match="size of the batch"):
        ParameterGroup("p", {"w": parameter}, config)
    with pytest.raises(ConfigError, match="ema_half_life_images is 600, ema_decay 0.9"):
        OptimizerConfig(ema_half_life_images=600, ema_decay=0.9)


def test_batches_of_another_size_forget_as_many_images() -> None:
    decays = [OptimizerConfig(ema_half_life_images=10_000).average_decay(size) for size in (8, 32)]
    assert decays[0] ** 4 == pytest.approx(decays[1], rel=1e-12)
    groups = build_groups(ToyModel(), {"default": OptimizerConfig(ema_half_life_images=10_000)}, batch_size=32)
    assert {group.average_decay for group in groups.values()} == {decays[1]}


def test_state_makes_the_next_steps_the_same() -> None:
    parameter, group = _group(ema_decay=0.99)
    for step in range(3):
        _step(parameter, group, [1.0, step], step)
    other_parameter, other = _group(ema_decay=0.99)
    with torch.no_grad():
        other_parameter.copy_(parameter)
    other.restore(copy.deepcopy(group.state()))
    for own, own_group in ((parameter, group), (other_parameter, other)):
        _step(own, own_group, [0.3, 2.0], 3)
    assert torch.equal(parameter, other_parameter)
    assert torch.equal(group.averages()["w"], other.averages()["w"])


def test_a_state_without_averages_is_refused() -> None:
    _, without = _group()
    _, wanting = _group(ema_decay=0.9)
    with pytest.raises(CheckpointError, match="moving averages"):
        wanting.restore(without.state())


def test_groups_are_named_as_in_the_state_dict() -> None:
    groups = build_groups(ToyModel(), {"default": OptimizerConfig()})
    assert {name: list(group.parameters) for name, group in groups.items()} == {
        "generator": ["hidden", "out"],
        "critic": ["critic"],
    }


def test_each_group_can_have_a_config_of_its_own() -> None:
    slow, fast = OptimizerConfig(learning_rate=1e-4), OptimizerConfig("sgd", learning_rate=1e-2)
    groups = build_groups(ToyModel(), {"default": slow, "critic": fast})
    assert (groups["generator"].config, groups["critic"].config) == (slow, fast)
    assert isinstance(groups["generator"].optimizer, torch.optim.AdamW)
    assert isinstance(groups["critic"].optimizer, torch.optim.SGD)
    with pytest.raises(ConfigError, match=r"optimizers\.critc: the model has no such") as refused:
        build_groups(ToyModel(), {"default": slow, "critc": fast})
    assert refused.value.remedy == "did you mean 'critic'?"


def test_every_optimizer_lowers_a_parabola() -> None:
    for kind in OPTIMIZERS:
        parameter = nn.Parameter(torch.ones(3))
        optimizer = OptimizerConfig(kind, learning_rate=0.05, weight_decay=0.0).build([parameter])
        for _ in range(50):
            optimizer.zero_grad()
            parameter.square().sum().backward()
            optimizer.step()
        assert float(parameter.detach().abs().max()) < 0.5, kind


def test_impossible_groups_are_refused() -> None:
    model = ToyModel()
    model.parameter_groups = lambda: {"generator": [model.hidden], "critic": [model.hidden]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"hidden belongs to 'generator' and to 'critic'"):
        build_groups(model, {"default": OptimizerConfig()})
    model.parameter_groups = lambda: {"generator": [], "critic": [model.critic]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="no parameters"):
        build_groups(model, {"default": OptimizerConfig()})
    model = OneGroup()
    model.parameter_groups = lambda: {"another": [model.hidden]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"phase 'generate' trains \['model'\]"):
        build_groups(model, {"default": OptimizerConfig()})
