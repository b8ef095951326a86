"""A verdict that the host reads a step late: the same training, and nothing that is not finite is ever applied."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from raylift.config.optimizers import OPTIMIZERS, OptimizerConfig
from raylift.core.errors import NonFiniteError
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.testing.ranks import run_ranks
from raylift.training.metric_accumulator import MetricAccumulator
from raylift.training.parameter_groups import ParameterGroup, build_groups
from raylift.training.step import TrainingStep
from tests.training.toy import ToyModel, feed

CPU = torch.device("cpu")
NUM_STEPS = 6
BAD_STEP = 3


def _config(kind: str) -> OptimizerConfig:
    return OptimizerConfig(kind.removeprefix("fused "), learning_rate=0.05, ema_decay=0.9)


def _start(kind: str, late: bool) -> tuple[dict[str, ParameterGroup], TrainingStep]:
    model = ToyModel()
    groups = build_groups(model, {"default": _config(kind)})
    if kind.startswith("fused "):
        for group in groups.values():
            group.optimizer = torch.optim.AdamW(group.parameters.values(), lr=0.05, fused=True)
    return groups, TrainingStep(model, groups, late=late)


def _state(groups: dict[str, ParameterGroup]) -> dict[str, Tensor]:
    """Parameters, averages and moments of all groups; not the optimizers' counts of steps."""
    found = {}
    for group in groups.values():
        found |= {name: value.detach().clone() for name, value in group.parameters.items()}
        found |= {f"average of {name}": value.clone() for name, value in group.averages().items()}
        for name, value in group.parameters.items():
            kept = group.optimizer.state.get(value, {})
            found |= {f"{key} of {name}": one.clone() for key, one in kept.items() if one is not None and one.dim()}
    return found


def _poison(step: int, batch: Batch) -> Batch:
    if step != BAD_STEP:
        return batch
    y = batch["y"].clone()
    y[-1] = float("nan")
    return replace(batch, fields={**batch.fields, "y": y})


KINDS = [*OPTIMIZERS, "fused adamw"]


@pytest.mark.parametrize("kind", KINDS)
def test_looking_late_changes_nothing_of_a_good_run(kind: str) -> None:
    states = []
    for late in (False, True):
        groups, step = _start(kind, late)
        for index, batch in enumerate(feed()(0, NUM_STEPS)):
            step.run(batch, StepInfo(index, NUM_STEPS), MetricAccumulator(CPU))
        step.settle()
        states.append(_state(groups))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("first_is_bad", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_update_is_never_applied(kind: str, first_is_bad: bool) -> None:
    """It is found one step later, when parameters, moments and averages are still those of before."""
    groups, step = _start(kind, late=True)
    first = BAD_STEP if first_is_bad else 0
    before: list[dict[str, Tensor]] = []

    def train() -> None:
        for index, batch in enumerate(feed(_poison)(first, NUM_STEPS), start=first):
            before.append(_state(groups))
            step.run(batch, StepInfo(index, NUM_STEPS), MetricAccumulator(CPU))

    message = rf"step {BAD_STEP}, phase 'generate': term residual, doubt, watched is not finite; samples: .*its y is"
    with pytest.raises(NonFiniteError, match=message):
        train()
    assert len(before) == BAD_STEP + 2 - first, "the host looks one step late"
    after = _state(groups)
    expected = before[-2]
    for name, value in after.items():
        assert torch.equal(value, expected.get(name, torch.zeros_like(value))), name


def test_settling_looks_at_once() -> None:
    _, step = _start("adamw", late=True)
    step.run(_poison(BAD_STEP, next(feed()(0, 1))), StepInfo(BAD_STEP, NUM_STEPS), MetricAccumulator(CPU))
    with pytest.raises(NonFiniteError, match=f"step {BAD_STEP}"):
        step.settle()


class _Exploding(ToyModel):
    """Finite terms, and a gradient that is not, in the second phase of step 2."""

    def losses(self, phase, batch, step_info, carry):  # type: ignore[no-untyped-def]
        output = super().losses(phase, batch, step_info, carry)
        if phase == "generate" or step_info.step != 2:
            return output
        term = output.terms[0]
        root = (self.critic * 0).clamp(min=0).sum().sqrt()
        return replace(output, terms=[replace(term, share=term.share + root)])


def _until_error() -> str:
    model = _Exploding()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}), late=True)
    try:
        for index, batch in enumerate(feed()(0, NUM_STEPS)):
            step.run(batch, StepInfo(index, NUM_STEPS), MetricAccumulator(CPU))
    except NonFiniteError as error:
        return f"{index}: {error}"
    return "no error"


def test_all_ranks_stop_at_the_same_step_with_the_parameters_name() -> None:
    for told in (_until_error(), *run_ranks(2, _until_error)):
        assert told.startswith("3: step 2, phase 'criticise': all terms are finite but the gradient is not")
        assert "(critic: critic)" in told
        assert "object-12#0" in told
