"""Whether a step's terms and gradients are finite: decided on the device, before the update, on all ranks together.

On a CPU the host looks at once, and a bad step raises before it updates anything. On a GPU looking would make the host
wait until the device is idle, so it looks a step late. Until then the verdict is a number on the device: it selects, in
every update of the bad phase and of all that follow, the values from before. The error, its names and the state of
the parameters and of their optimizers' moments and averages are the same; steps that other phases count on the host
go on counting. What ``Model.after_step`` refreshes may have seen the bad values: nothing is logged, evaluated or
committed before ``settle`` has raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raylift.core.collectives import gather_objects, global_max
from raylift.core.errors import NonFiniteError
from raylift.core.model import Phase
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch

NAMES_SHOWN = 16
_REMEDY = "the update was skipped and the last checkpoint is good; lower the learning rate, or inspect those samples"


@dataclass(frozen=True)
class PhaseOutcome:
    """What one phase's loss and backward pass left, on the device.

    Attributes:
        shares: this rank's share of each term, [T].
        names: of the terms.
        norms: of each trained group's parameters that have a gradient: its norm.
    """

    phase: Phase
    batch: Batch
    step_info: StepInfo
    shares: Tensor
    names: tuple[str, ...]
    norms: Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True)
class _Verdict:
    """A phase whose verdict is on its way to the host; it has arrived when the event, if there is one, has passed."""

    outcome: PhaseOutcome
    is_bad: Tensor
    arrived: torch.cuda.Event | None

    def read(self) -> bool:
        if self.arrived is not None:
            self.arrived.synchronize()
        return bool(self.is_bad)


class FinitenessGuard:
    """Stops a run whose terms or gradients are not finite, on every rank at the same step.

    Args:
        late: look a step late, and let a number on the device undo the updates until then; otherwise look at once.
    """

    def __init__(self, late: bool) -> None:
        self.late = late
        self._is_halted: Tensor | None = None
        self._verdicts: list[_Verdict] = []

    def judge(self, outcome: PhaseOutcome, total_norms: Sequence[Tensor]) -> Tensor | None:
        """Decide a phase, after its backward pass and before its update.

        Args:
            total_norms: the gradient norm of each trained group, 0-d.

        Returns:
            1 if this phase's update counts, else 0 (0-d, bool, on the device); None if it counts for certain.

        Raises:
            NonFiniteError: not late, and a term or a gradient is not finite on some rank.
        """
        finite = torch.isfinite(outcome.shares).all() & torch.isfinite(torch.stack(list(total_norms))).all()
        is_bad = global_max((~finite).to(torch.float32))
        if not self.late:
            if bool(is_bad):
                _refuse(outcome)
            return None
        self._is_halted = is_bad if self._is_halted is None else torch.maximum(self._is_halted, is_bad)
        on_host = is_bad.to("cpu", non_blocking=True)
        arrived = torch.cuda.current_stream(is_bad.device).record_event() if is_bad.device.type == "cuda" else None
        self._verdicts.append(_Verdict(outcome, on_host, arrived))
        return self._is_halted == 0

    def settle(self, before_step: int | None = None) -> None:
        """Look at the verdicts of steps before this one (None: at all).

        Raises:
            NonFiniteError: one was bad; nothing of its phase, or after it, has been updated.
        """
        while self._verdicts and (before_step is None or self._verdicts[0].outcome.step_info.step < before_step):
            verdict = self._verdicts.pop(0)
            if verdict.read():
                _refuse(verdict.outcome)


def _refuse(outcome: PhaseOutcome) -> None:
    """Raise with what was not finite on any rank; called on all of them."""
    bad = (~torch.isfinite(outcome.shares)).tolist()
    found = [name for name, is_bad in zip(outcome.names, bad, strict=True) if is_bad]
    reports: list[tuple[list[str], tuple[str, ...]]] = gather_objects((found, suspects(outcome.batch) if found else ()))
    where = f"step {outcome.step_info.step}, phase {outcome.phase.name!r}"
    terms = list(dict.fromkeys(name for report in reports for name in report[0]))
    if terms:
        samples = list(dict.fromkeys(sample for report in reports for sample in report[1]))
        raise NonFiniteError(f"{where}: term {', '.join(terms)} is not finite; samples: {_listed(samples)}", _REMEDY)
    # Gradients are summed over ranks already, so every rank finds the same parameter.
    parameters = [f"{group}: {name}" for group, norms in outcome.norms.items() if (name := _first_bad(norms))]
    everyone: list[Any] = [sample for ids in gather_objects(outcome.batch.ids) for sample in ids]
    raise NonFiniteError(
        f"{where}: all terms are finite but the gradient is not ({', '.join(parameters) or 'its norm overflows'});"
        f" samples: {_listed(everyone)}",
        _REMEDY,
    )


def _first_bad(norms: Mapping[str, Tensor]) -> str | None:
    return next((name for name, norm in norms.items() if not bool(torch.isfinite(norm))), None)


def suspects(batch: Batch) -> tuple[str, ...]:
    """The samples with a non-finite input value, with its field; if there are none, all samples of the batch."""
    found = []
    for index, sample in enumerate(batch.ids):
        fields = [
            name
            for name, value in batch.fields.items()
            if value.is_floating_point() and not bool(torch.isfinite(value[index]).all())
        ]
        if fields:
            found.append(f"{sample} (its {', '.join(fields)} is not finite)")
    return tuple(found) or batch.ids


def _listed(samples: list[str]) -> str:
    more = f" and {len(samples) - NAMES_SHOWN} more" if len(samples) > NAMES_SHOWN else ""
    return ", ".join(samples[:NAMES_SHOWN]) + more
