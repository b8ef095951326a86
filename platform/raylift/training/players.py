"""A player: the parameters that share one optimiser, learning-rate schedule, gradient clip and moving average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from raylift.config.learning_rate import learning_rate_factor
from raylift.config.training import OptimisationConfig
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.model import Model


class Player:
    """Some of a model's parameters with everything that moves them.

    Args:
        name: as in ``Model.players``.
        parameters: name (as in the model's ``state_dict``) to parameter, in a fixed order.
        config: optimiser, rate, decay, clip and average.
    """

    def __init__(self, name: str, parameters: Mapping[str, nn.Parameter], config: OptimisationConfig) -> None:
        self.name = name
        self.config = config
        self.parameters = dict(parameters)
        self._values = list(self.parameters.values())
        optimizer = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer: torch.optim.Optimizer = optimizer(
            self._values, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        self.num_updates = 0
        self.average: list[Tensor] | None = None
        if config.ema_decay > 0:
            self.average = [value.detach().clone() for value in self._values]

    def require_gradients(self, wanted: bool) -> None:
        """Switch the player's gradients on or off, for phases that train others."""
        for value in self._values:
            value.requires_grad_(wanted)

    def clear_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def gradient_norm(self) -> Tensor:
        """The norm of all gradients together, a scalar; 0 where there are none."""
        gradients = [value.grad for value in self._values if value.grad is not None]
        return torch.nn.utils.get_total_norm(gradients) if gradients else self._values[0].new_zeros(())

    def first_bad_gradient(self) -> str | None:
        """The name of the first parameter whose gradient is not finite."""
        for name, value in self.parameters.items():
            if value.grad is not None and not bool(torch.isfinite(value.grad).all()):
                return name
        return None

    def update(self, gradient_norm: Tensor, step: int, num_steps: int) -> float:
        """Clip, step the optimiser at this step's rate, move the average; gives the rate.

        The average follows Polyak with a ramp, decay_n = min(decay, (1 + n) / (10 + n)) after n updates, so that the
        untrained weights it starts from are soon forgotten.
        """
        rate = self.config.learning_rate * learning_rate_factor(self.config.schedule, step, num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.clip_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(self._values, self.config.clip_norm, gradient_norm)
        self.optimizer.step()
        if self.average is not None:
            decay = min(self.config.ema_decay, (1 + self.num_updates) / (10 + self.num_updates))
            torch._foreach_lerp_(self.average, [value.detach() for value in self._values], 1.0 - decay)
        self.num_updates += 1
        return rate

    def restart_average(self) -> None:
        """Let the moving average start from the parameters as they are now."""
        if self.average is not None:
            self.average = [value.detach().clone() for value in self._values]

    def averages(self) -> dict[str, Tensor]:
        """The moving averages by parameter name; empty where none is kept."""
        return {} if self.average is None else dict(zip(self.parameters, self.average, strict=True))

    def state(self) -> dict[str, Any]:
        """Everything but the parameters themselves, which are the model's."""
        return {"optimizer": self.optimizer.state_dict(), "averages": self.averages(), "num_updates": self.num_updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a state that ``state`` gave.

        Raises:
            CheckpointError: it belongs to other parameters.
        """
        averages = state["averages"]
        if sorted(averages) != sorted(self.averages()):
            raise CheckpointError(
                f"the checkpoint's moving averages of player {self.name!r} do not fit",
                "resume with the ema_decay and the model that the run was started with",
            )
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's optimiser of player {self.name!r} does not fit: {error}",
                "resume with the recipe that the run was started with",
            ) from None
        if self.average is not None:
            for ours, name in zip(self.average, self.parameters, strict=True):
                ours.copy_(averages[name])
        self.num_updates = int(state["num_updates"])


def build_players(model: Model, configs: OptimisationConfig | Mapping[str, OptimisationConfig]) -> dict[str, Player]:
    """One player for each of ``model.players()``.

    Args:
        configs: one for all, or one by player name.

    Raises:
        ConfigError: a player without parameters or config, a parameter of two players, a phase of an unknown player.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    players: dict[str, Player] = {}
    owner: dict[int, str] = {}
    for player, parameters in model.players().items():
        if not parameters:
            raise ConfigError(f"player {player!r} has no parameters", "leave it out of the model's players")
        named: dict[str, nn.Parameter] = {}
        for parameter in parameters:
            if id(parameter) in owner:
                raise ConfigError(
                    f"parameter {names.get(id(parameter), '?')} belongs to {owner[id(parameter)]!r} and to {player!r}",
                    "give each parameter to one player",
                )
            if id(parameter) not in names:
                raise ConfigError(f"player {player!r} has a parameter that is not the model's", "register it")
            owner[id(parameter)] = player
            named[names[id(parameter)]] = parameter
        config = configs if isinstance(configs, OptimisationConfig) else configs.get(player)
        if config is None:
            raise ConfigError(f"there is no optimisation config for player {player!r}", "add one")
        rate = config.learning_rate * model.rate_factor(player)
        players[player] = Player(player, named, replace(config, learning_rate=rate))
    _check_phases(model, players)
    return players


def _check_phases(model: Model, players: Mapping[str, Player]) -> None:
    if not model.phases:
        raise ConfigError("the model has no phases", "give at least one")
    for phase in model.phases:
        unknown = [name for name in phase.players if name not in players]
        if unknown or not phase.players:
            raise ConfigError(
                f"phase {phase.name!r} trains {list(phase.players)}", f"the model's players are {sorted(players)}"
            )
        if phase.every < 1:
            raise ConfigError(f"phase {phase.name!r} runs every {phase.every} steps", "give at least 1")


@contextmanager
def averaged(players: Sequence[Player]) -> Iterator[None]:
    """Within, the model has its averaged parameters, where averages are kept; evaluation looks at those."""
    kept = [(player, [value.detach().clone() for value in player._values]) for player in players if player.average]
    with torch.no_grad():
        for player, _ in kept:
            for value, average in zip(player._values, player.average or [], strict=True):
                value.copy_(average)
    try:
        yield
    finally:
        with torch.no_grad():
            for player, values in kept:
                for value, original in zip(player._values, values, strict=True):
                    value.copy_(original)
