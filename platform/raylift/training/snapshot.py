"""A run's state copied to the host in one go, so that a checkpoint can be written while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint saves, as it was when the snapshot was taken; no tensor is shared with the model.

    Attributes:
        step: optimizer steps done.
        num_steps: steps of the whole run.
        model: its ``state_dict``.
        groups: each parameter group's ``ParameterGroup.state``.
        accumulator: the open window of metrics.
        recipe: the recipe as plain values.
        data: fingerprint of the data set.
        info: facts about the data set that the model was built for.
        copied: passed when the copies from a GPU have arrived; None if they have.
    """

    step: int
    num_steps: int
    model: dict[str, Tensor]
    groups: dict[str, Any]
    accumulator: dict[str, tuple[float, int]]
    recipe: dict[str, Any]
    data: str = ""
    info: dict[str, Any] | None = None
    copied: torch.cuda.Event | None = None

    @staticmethod
    def take(
        step: int,
        num_steps: int,
        model: nn.Module,
        groups: Mapping[str, Mapping[str, Any]],
        recipe: Mapping[str, Any],
        accumulator: Mapping[str, tuple[float, int]] | None = None,
        data: str = "",
        info: Mapping[str, Any] | None = None,
    ) -> Snapshot:
        """Copy a run's state; from a GPU to pinned memory, in order with its stream, without waiting for it."""
        state = {name: _copied(value) for name, value in model.state_dict().items()}
        kept = {name: _copied(dict(one)) for name, one in groups.items()}
        device = next((value.device for value in model.state_dict().values() if value.device.type == "cuda"), None)
        return Snapshot(
            step=step,
            num_steps=num_steps,
            model=state,
            groups=kept,
            accumulator=dict(accumulator or {}),
            recipe=dict(recipe),
            data=data,
            info=dict(info or {}),
            copied=None if device is None else torch.cuda.current_stream(device).record_event(),
        )

    def wait(self) -> None:
        """Wait until all copies have arrived; called by whoever reads them, in any thread."""
        if self.copied is not None:
            self.copied.synchronize()


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        found = value.detach()
        # To the host without blocking is to pinned memory.
        return found.clone() if found.device.type == "cpu" else found.to("cpu", non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value
