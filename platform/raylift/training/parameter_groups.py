"""A parameter group: parameters that share one optimizer, learning-rate schedule, gradient clip and moving average."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from raylift.config.learning_rate import learning_rate_factor
from raylift.config.optimizers import DEFAULT_GROUP, OptimizerConfig
from raylift.core.errors import CheckpointError, ConfigError
from raylift.core.model import Model


class ParameterGroup:
    """Some of a model's parameters with everything that updates them.

    Args:
        name: as in ``Model.parameter_groups``.
        parameters: name (as in the model's ``state_dict``) to parameter, in a fixed order.
        config: optimizer, rate, decay, clip and average.
        batch_size: samples per global batch, for an average whose half-life is in images.
    """

    def __init__(
        self, name: str, parameters: Mapping[str, nn.Parameter], config: OptimizerConfig, batch_size: int = 0
    ) -> None:
        self.name = name
        self.config = config
        self.parameters = dict(parameters)
        self._values = list(self.parameters.values())
        self.optimizer = config.build(self._values)
        self.num_updates = 0
        self.average: list[Tensor] | None = None
        self.average_decay = config.average_decay(batch_size)
        if self.average_decay > 0:
            self.average = [value.detach().clone() for value in self._values]

    def require_gradients(self, wanted: bool) -> None:
        """Switch the group's gradients on or off, for phases that train others."""
        for value in self._values:
            value.requires_grad_(wanted)

    def clear_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def gradient_norms(self) -> dict[str, Tensor]:
        """The norm of each parameter's gradient, 0-d, by name; those without a gradient are left out."""
        named = {name: value.grad for name, value in self.parameters.items() if value.grad is not None}
        return dict(zip(named, torch._foreach_norm(list(named.values())), strict=True)) if named else {}

    def gradient_norm(self, norms: Mapping[str, Tensor] | None = None) -> Tensor:
        """The norm of all gradients together, a scalar; 0 without gradients.

        Args:
            norms: what ``gradient_norms`` returned, if it was called.
        """
        each = self.gradient_norms() if norms is None else norms
        return torch.linalg.vector_norm(torch.stack(list(each.values()))) if each else self._values[0].new_zeros(())

    def update(self, gradient_norm: Tensor, step: int, num_steps: int, counts: Tensor | None = None) -> float:
        """Clip, step the optimizer at this step's rate, update the average; returns the rate.

        Polyak averaging with a ramp, decay_n = min(decay, (1 + n) / (10 + n)) after n updates, so that the untrained
        weights it starts from are soon forgotten: the half-life after n updates is at most 0.08 (10 + n) of them.

        Args:
            counts: 0-d bool on the device: where it is 0, parameters, moments and averages stay what they are,
                whatever the gradients hold. None updates for certain, which costs no copies.
        """
        rate = self.config.learning_rate * learning_rate_factor(self.config.schedule, step, num_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.config.clip_norm > 0:
            torch.nn.utils.clip_grads_with_norm_(self._values, self.config.clip_norm, gradient_norm)
        if counts is None:
            self.optimizer.step()
        else:
            self._step_where(counts)
        if self.average is not None:
            self._move_average(self.average, counts)
        self.num_updates += 1
        return rate

    def _step_where(self, counts: Tensor) -> None:
        """Step the optimizer where ``counts`` is 1, without looking at it."""
        if self.optimizer.param_groups[0].get("fused"):
            # What a gradient scaler tells the fused kernels: with 1 here they change nothing, moments included.
            self.optimizer.found_inf = (~counts).to(torch.float32)  # type: ignore[attr-defined]
            self.optimizer.step()
            return
        with torch.no_grad():
            before = {id(value): value.clone() for value in self._on_device()}
            self.optimizer.step()
            for value in self._on_device():
                kept = before.get(id(value))
                value.copy_(torch.where(counts, value, torch.zeros_like(value) if kept is None else kept))

    def _on_device(self) -> list[Tensor]:
        """Parameters and what their optimizer keeps on their device; its counts of steps may be on the host."""
        kept = [
            value
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor) and value.dim() > 0
        ]
        return [*self._values, *kept]

    def _move_average(self, average: list[Tensor], counts: Tensor | None) -> None:
        share = 1.0 - min(self.average_decay, (1 + self.num_updates) / (10 + self.num_updates))
        values = [value.detach() for value in self._values]
        if counts is None:
            torch._foreach_lerp_(average, values, share)
        else:
            shares = {value.dtype: share * counts.to(value.dtype) for value in values}
            torch._foreach_lerp_(average, values, [shares[value.dtype].expand_as(value) for value in values])

    def restart_average(self) -> None:
        """Restart the moving average from the current parameters."""
        if self.average is not None:
            self.average = [value.detach().clone() for value in self._values]

    def averages(self) -> dict[str, Tensor]:
        """The moving averages by parameter name; empty if none is kept."""
        return {} if self.average is None else dict(zip(self.parameters, self.average, strict=True))

    def state(self) -> dict[str, Any]:
        """The group's state without the parameters, which are part of the model's."""
        return {"optimizer": self.optimizer.state_dict(), "averages": self.averages(), "num_updates": self.num_updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state that ``state`` returned.

        Raises:
            CheckpointError: it belongs to other parameters.
        """
        averages = state["averages"]
        if sorted(averages) != sorted(self.averages()):
            raise CheckpointError(
                f"the checkpoint's moving averages of group {self.name!r} do not fit",
                "resume with the average and the model that the run was started with",
            )
        try:
            self.optimizer.load_state_dict(_with_kernels_of(self.optimizer, state["optimizer"]))
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint's optimizer of group {self.name!r} does not fit: {error}",
                "resume with the recipe that the run was started with",
            ) from None
        if self.average is not None:
            for ours, name in zip(self.average, self.parameters, strict=True):
                ours.copy_(averages[name])
        self.num_updates = int(state["num_updates"])


def _with_kernels_of(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    """An optimizer's state, to be used by the kernels of this one: a run may go on on another kind of device."""
    own = {name: optimizer.param_groups[0][name] for name in ("fused", "foreach") if name in optimizer.defaults}
    return {**state, "param_groups": [{**group, **own} for group in state["param_groups"]]}


def build_groups(
    model: Model, configs: Mapping[str, OptimizerConfig], batch_size: int = 0
) -> dict[str, ParameterGroup]:
    """One ``ParameterGroup`` for each of ``model.parameter_groups()``.

    Args:
        configs: by group; "default" for groups that are not named.
        batch_size: samples per global batch, for averages whose half-life is in images.

    Raises:
        ConfigError: a group without parameters, a config for an unknown group, a parameter in two groups, a phase with
            an unknown group.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: dict[str, ParameterGroup] = {}
    owner: dict[int, str] = {}
    for group, parameters in model.parameter_groups().items():
        if not parameters:
            raise ConfigError(f"group {group!r} has no parameters", "leave it out of the model's groups")
        named: dict[str, nn.Parameter] = {}
        for parameter in parameters:
            if id(parameter) in owner:
                raise ConfigError(
                    f"parameter {names.get(id(parameter), '?')} belongs to {owner[id(parameter)]!r} and to {group!r}",
                    "put each parameter in one group",
                )
            if id(parameter) not in names:
                raise ConfigError(f"group {group!r} has a parameter that is not the model's", "register it there")
            owner[id(parameter)] = group
            named[names[id(parameter)]] = parameter
        groups[group] = ParameterGroup(group, named, configs.get(group, configs[DEFAULT_GROUP]), batch_size)
    unknown = sorted(set(configs) - set(groups) - {DEFAULT_GROUP})
    if unknown:
        near = difflib.get_close_matches(unknown[0], groups, n=1)
        raise ConfigError(
            f"optimizers.{unknown[0]}: the model has no such parameter group",
            f"did you mean {near[0]!r}?" if near else f"groups are {', '.join(groups)}, and {DEFAULT_GROUP} for all",
        )
    _check_phases(model, groups)
    return groups


def _check_phases(model: Model, groups: Mapping[str, ParameterGroup]) -> None:
    if not model.phases:
        raise ConfigError("the model has no phases", "define at least one")
    for phase in model.phases:
        unknown = [name for name in phase.groups if name not in groups]
        if unknown or not phase.groups:
            raise ConfigError(
                f"phase {phase.name!r} trains {list(phase.groups)}", f"the model's groups are {sorted(groups)}"
            )
        if phase.every < 1:
            raise ConfigError(f"phase {phase.name!r} runs every {phase.every} steps", "use at least 1")


@contextmanager
def averaged(groups: Sequence[ParameterGroup]) -> Iterator[None]:
    """Within the block, the model has its averaged parameters, if averages are kept; evaluation uses those."""
    kept = [(group, [value.detach().clone() for value in group._values]) for group in groups if group.average]
    with torch.no_grad():
        for group, _ in kept:
            for value, average in zip(group._values, group.average or [], strict=True):
                value.copy_(average)
    try:
        yield
    finally:
        with torch.no_grad():
            for group, values in kept:
                for value, original in zip(group._values, values, strict=True):
                    value.copy_(original)
