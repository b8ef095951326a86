"""One step: phases touch their own groups only, the world-size law, and what is not finite never reaches a weight."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from raylift.config.optimizers import OptimizerConfig
from raylift.core.errors import ConfigError, TrainingError
from raylift.core.model import Carry, LossOutput, Phase, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.testing.ranks import run_ranks
from raylift.training.metric_accumulator import MetricAccumulator
from raylift.training.parameter_groups import build_groups
from raylift.training.step import TrainingStep, check_normalisation
from tests.training.toy import OneGroup, ToyModel, feed

CPU = torch.device("cpu")


def _train(kind: str, num_steps: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    model = ToyModel() if kind == "two" else OneGroup()
    groups = build_groups(model, {"default": OptimizerConfig(learning_rate=0.05, ema_decay=0.9)})
    step, accumulator = TrainingStep(model, groups), MetricAccumulator(CPU)
    for index, batch in enumerate(feed()(0, num_steps)):
        step.run(batch, StepInfo(index, num_steps), accumulator)
    averages = {f"average/{name}": value for group in groups.values() for name, value in group.averages().items()}
    return {**model.state_dict(), **averages}, accumulator.flush()


def _on_rank(kind: str) -> dict[str, Any]:
    return {"trained": _train(kind, 5), "errors": _both_errors()}


@cache
def _on_ranks(world: int) -> list[dict[str, Any]]:
    """What the tests of several ranks compare, by one start of the ranks."""
    kind = {2: "one", 4: "two"}[world]
    return run_ranks(world, _on_rank, kind)


@pytest.mark.parametrize(("kind", "world"), [("one", 2), ("two", 4)])
def test_world_size_law(kind: str, world: int) -> None:
    """Parameters, averages, buffers and logged metrics equal those on one rank; with 4, parts differ in size."""
    state, metrics = _train(kind, 5)
    for other_state, other_metrics in (result["trained"] for result in _on_ranks(world)):
        assert list(other_metrics) == list(metrics)
        for name, value in state.items():
            torch.testing.assert_close(other_state[name], value, rtol=1e-10, atol=1e-12)
        for name, metric in metrics.items():
            assert other_metrics[name] == pytest.approx(metric, rel=1e-10)


def test_a_lazy_phase_runs_when_it_is_due_and_trains_its_group_only() -> None:
    model = ToyModel()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig(learning_rate=0.05)}))
    for index, batch in enumerate(feed()(0, 4)):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        accumulator = MetricAccumulator(CPU)
        step.run(batch, StepInfo(index, 4), accumulator)
        assert not torch.equal(model.hidden, before["hidden"])
        assert torch.equal(model.critic, before["critic"]) == (index % 2 == 1)
        assert ("loss/critic" in accumulator.flush()) == (index % 2 == 0)


def test_metrics_are_the_terms_and_the_weighted_total() -> None:
    model = OneGroup()
    step, accumulator = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()})), MetricAccumulator(CPU)
    batch = next(feed()(0, 1))
    terms = model.losses("generate", batch, StepInfo(0, 1), {}).terms
    step.run(batch, StepInfo(0, 1), accumulator)
    metrics = accumulator.flush()
    for term in terms:
        assert metrics[f"loss/{term.name}"] == pytest.approx(term.share.item(), rel=1e-12)
    total = sum(term.weight * term.share.item() for term in terms)
    assert metrics["loss/total"] == pytest.approx(total, rel=1e-12)
    assert {"gradient_norm/model", "learning_rate/model"} < set(metrics)


def test_a_term_of_weight_0_trains_nothing() -> None:
    class Watching(OneGroup):
        def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
            output = super().losses(phase, batch, step_info, carry)
            return LossOutput([replace(term, weight=0.0) for term in output.terms], output.carry)

    model = Watching()
    before = {name: value.clone() for name, value in model.named_parameters()}
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig(weight_decay=0.0)}))
    step.run(next(feed()(0, 1)), StepInfo(0, 1), MetricAccumulator(CPU))
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_what_is_carried_holds_no_graph() -> None:
    class Leaking(OneGroup):
        def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
            return LossOutput(super().losses(phase, batch, step_info, carry).terms, {"sums": self.out * 2})

    model = Leaking()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}))
    with pytest.raises(ConfigError, match="phase 'generate' carries sums with a gradient"):
        step.run(next(feed()(0, 1)), StepInfo(0, 1), MetricAccumulator(CPU))


def _poison_y(step: int, batch: Batch) -> Batch:
    """Object 9's truth is broken, as in a damaged shard: in the second global batch, on the last rank."""
    y = batch["y"].clone()
    for row, name in enumerate(batch.ids):
        if name.startswith("object-9#"):
            y[row] = float("nan")
    return replace(batch, fields={**batch.fields, "y": y})


def _until_error(kind: str) -> tuple[str, bool]:
    model = ToyModel() if kind == "two" else Exploding()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}))
    for index, batch in enumerate(feed(_poison_y if kind == "two" else lambda _, batch: batch)(0, 3)):
        before = [value.detach().clone() for value in model.parameters()]
        try:
            step.run(batch, StepInfo(index, 3), MetricAccumulator(CPU))
        except TrainingError as error:
            same = all(torch.equal(own, was) for own, was in zip(model.parameters(), before, strict=True))
            return str(error), same
    return "no error", False


class Exploding(OneGroup):
    """Finite terms whose gradient is not: the root's slope at 0."""

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        extra = Term("root", (self.critic * 0).clamp(min=0).sum().sqrt() / 2)
        output = super().losses(phase, batch, step_info, carry)
        return LossOutput([*output.terms, extra], output.carry)


def _both_errors() -> list[tuple[str, bool]]:
    return [_until_error("two"), _until_error("exploding")]


@pytest.mark.parametrize("world", [1, 2])
def test_what_is_not_finite_stops_every_rank_before_the_update(world: int) -> None:
    for (loss_message, same), (gradient_message, same_too) in (
        [result["errors"] for result in _on_ranks(world)] if world > 1 else [_both_errors()]
    ):
        assert "step 1, phase 'generate': term residual, doubt, watched is not finite" in loss_message
        assert "object-9#0 (its y is not finite)" in loss_message
        assert "object-0#0" not in loss_message
        assert "all terms are finite but the gradient is not (model: critic)" in gradient_message
        assert "object-0#0, object-1#0" in gradient_message
        assert same
        assert same_too


def test_a_batch_norm_over_local_samples_is_refused() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ConfigError, match="1 is a batch norm over each worker's own samples"):
        check_normalisation(network)
    check_normalisation(network.eval())


def test_terms_must_have_names_of_their_own() -> None:
    class Twice(OneGroup):
        def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
            return LossOutput(list(super().losses(phase, batch, step_info, carry).terms)[:1] * 2)

    model = Twice()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}))
    with pytest.raises(ConfigError, match="each with its own name"):
        step.run(next(feed()(0, 1)), StepInfo(0, 1), MetricAccumulator(CPU))


def test_two_phases_must_not_share_a_terms_name() -> None:
    class Clashing(ToyModel):
        @property
        def phases(self) -> tuple[Phase, ...]:
            return (Phase("generate", ("generator",)), Phase("generate_again", ("critic",)))

        def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
            return super().losses("generate", batch, step_info, carry)

    model = Clashing()
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}))
    with pytest.raises(TrainingError, match="both have a term 'loss/residual'"):
        step.run(next(feed()(0, 1)), StepInfo(0, 1), MetricAccumulator(CPU))


def test_bfloat16_runs_the_forward_pass_and_keeps_float32_weights() -> None:
    model = OneGroup(dtype=torch.float32)
    seen: list[torch.dtype] = []
    inner = model._residual

    def spy(batch: Batch, step_info: StepInfo) -> Tensor:
        seen.append((batch["x"] @ model.hidden).dtype)
        return inner(batch, step_info)

    model._residual = spy  # type: ignore[method-assign]
    accumulator = MetricAccumulator(CPU)
    step = TrainingStep(model, build_groups(model, {"default": OptimizerConfig()}), bf16=True)
    step.run(next(feed(dtype=torch.float32)(0, 1)), StepInfo(0, 1), accumulator)
    assert seen == [torch.bfloat16]
    assert model.hidden.dtype == torch.float32
    assert 0 < accumulator.flush()["loss/total"] < 100
