"""Players against closed forms and PyTorch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from raylift.config.learning_rate import LearningRateConfig
from raylift.config.training import OptimisationConfig
from raylift.core.errors import CheckpointError, ConfigError
from raylift.training.players import Player, averaged, build_players
from tests.training.toy import OnePlayer, ToyModel

CONSTANT = LearningRateConfig(kind="constant")


def _player(**values: object) -> tuple[nn.Parameter, Player]:
    parameter = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    return parameter, Player("p", {"w": parameter}, OptimisationConfig(schedule=CONSTANT, **values))  # type: ignore[arg-type]


def _step(parameter: nn.Parameter, player: Player, gradient: list[float], step: int = 0) -> float:
    parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return player.update(player.gradient_norm(), step, 10)


def test_clipping_scales_to_the_norm() -> None:
    parameter, player = _player(clip_norm=1.0)
    parameter.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    norm = player.gradient_norm()
    assert norm.item() == 5.0
    player.update(norm, 0, 10)
    assert parameter.grad is not None
    torch.testing.assert_close(parameter.grad, torch.tensor([0.6, 0.8], dtype=torch.float64), rtol=1e-6, atol=0)


def test_a_clip_norm_of_0_never_clips() -> None:
    parameter, player = _player(clip_norm=0.0)
    _step(parameter, player, [300.0, 400.0])
    assert parameter.grad is not None
    assert parameter.grad.tolist() == [300.0, 400.0]


def test_first_adamw_step_is_its_closed_form() -> None:
    parameter, player = _player(clip_norm=0.0, learning_rate=0.1, weight_decay=0.5)
    _step(parameter, player, [2.0, -7.0])
    # After one step Adam's direction is the gradient's sign; the decay multiplies by 1 - rate * decay.
    expected = torch.tensor([3.0 * 0.95 - 0.1, 4.0 * 0.95 + 0.1], dtype=torch.float64)
    torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-7)


def test_rates_follow_torchs_one_cycle() -> None:
    schedule = LearningRateConfig(kind="one_cycle")
    parameter = nn.Parameter(torch.zeros(1))
    player = Player("p", {"w": parameter}, OptimisationConfig(learning_rate=0.02, schedule=schedule))
    theirs = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.02)
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, max_lr=0.02, total_steps=25, cycle_momentum=False)
    for step in range(25):
        parameter.grad = torch.ones(1)
        assert player.update(player.gradient_norm(), step, 25) == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-9)
        theirs.step()
        if step < 24:
            cycle.step()


def test_average_is_its_recursion_and_evaluation_sees_it() -> None:
    parameter, player = _player(ema_decay=0.9)
    expected = parameter.detach().clone()
    for step in range(20):
        _step(parameter, player, [1.0, -0.5 * step], step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * parameter.detach()
    torch.testing.assert_close(player.averages()["w"], expected, rtol=1e-12, atol=0)
    trained = parameter.detach().clone()
    with averaged([player]):
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=0)
    assert torch.equal(parameter.detach(), trained)


def test_state_makes_the_next_steps_the_same() -> None:
    parameter, player = _player(ema_decay=0.99)
    for step in range(3):
        _step(parameter, player, [1.0, step], step)
    other_parameter, other = _player(ema_decay=0.99)
    with torch.no_grad():
        other_parameter.copy_(parameter)
    other.restore(copy.deepcopy(player.state()))
    for own, own_player in ((parameter, player), (other_parameter, other)):
        _step(own, own_player, [0.3, 2.0], 3)
    assert torch.equal(parameter, other_parameter)
    assert torch.equal(player.averages()["w"], other.averages()["w"])


def test_a_state_without_averages_is_refused() -> None:
    _, without = _player()
    _, wanting = _player(ema_decay=0.9)
    with pytest.raises(CheckpointError, match="moving averages"):
        wanting.restore(without.state())


def test_players_are_named_as_in_the_state_dict() -> None:
    players = build_players(ToyModel(), OptimisationConfig())
    assert {name: list(player.parameters) for name, player in players.items()} == {
        "generator": ["hidden", "out"],
        "critic": ["critic"],
    }


def test_each_player_can_have_a_config_of_its_own() -> None:
    slow, fast = OptimisationConfig(learning_rate=1e-4), OptimisationConfig(learning_rate=1e-2)
    players = build_players(ToyModel(), {"generator": slow, "critic": fast})
    assert players["critic"].config == fast
    with pytest.raises(ConfigError, match="no optimisation config for player 'critic'"):
        build_players(ToyModel(), {"generator": slow})


def test_impossible_players_are_refused() -> None:
    model = ToyModel()
    model.players = lambda: {"generator": [model.hidden], "critic": [model.hidden]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"hidden belongs to 'generator' and to 'critic'"):
        build_players(model, OptimisationConfig())
    model.players = lambda: {"generator": [], "critic": [model.critic]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="no parameters"):
        build_players(model, OptimisationConfig())
    model = OnePlayer()
    model.players = lambda: {"another": [model.hidden]}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"phase 'generate' trains \['model'\]"):
        build_players(model, OptimisationConfig())
