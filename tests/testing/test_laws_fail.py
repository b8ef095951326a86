"""The suite of laws finds what it is for: a sound model keeps them all, and each of these breaks one."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from raylift.config.recipe import Recipe
from raylift.core.generators import stable_hash
from raylift.core.model import Carry, LossOutput, Model, Term
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.testing.laws import ModelLaws, find_laws
from tests.training.toy import ToyModel, sample

TABLE = {"residual": {"generator"}, "doubt": {"generator"}, "critic": {"critic"}}


class Sound(ModelLaws):
    """The toy of the loop's tests: two phases, a lazy critic, a buffer, draws keyed by sample."""

    recipe = "poses/test"
    worlds: ClassVar = (2,)
    reach: ClassVar = TABLE
    model: ClassVar[type[ToyModel]] = ToyModel

    def get_recipe(self) -> Recipe:
        """Only its optimizers count here: the toy is in no catalogue."""
        return replace(super().get_recipe(), seed=3)

    def build(self) -> Model:
        return self.model(dtype=torch.float32)

    def batch(self, model: Model) -> Batch:
        ids, xs, ys = zip(*(sample(row, torch.float32) for row in range(self.batch_size)), strict=True)
        keys = torch.tensor([stable_hash(name) for name in ids])
        return Batch(tuple(ids), keys, {"x": torch.stack(xs), "y": torch.stack(ys)})


def _with_term(output: LossOutput, name: str, share: Tensor, weight: float = 1.0) -> LossOutput:
    return LossOutput([*(term for term in output.terms if term.name != name), Term(name, share, weight)], output.carry)


class LocalMean(ToyModel):
    """Each rank takes the mean of its own samples, not its share of the global one."""

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        output = super().losses(phase, batch, step_info, carry)
        if phase != "generate":
            return output
        return _with_term(output, "residual", self._residual(batch, step_info).square().mean(), 2.0)


class HiddenState(ToyModel):
    """It remembers the last step's loss where no checkpoint looks."""

    last = 0.0

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        output = super().losses(phase, batch, step_info, carry)
        if phase != "generate":
            return output
        residual = output.terms[0].share
        damped = residual * (1 + 0.1 * self.last)
        self.last = float(residual.detach())
        return _with_term(output, "residual", damped, 2.0)


class TermOfAnotherGroup(ToyModel):
    """The generator's phase has a term of the critic's parameters, which are frozen then."""

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        output = super().losses(phase, batch, step_info, carry)
        return output if phase != "generate" else _with_term(output, "decay", self.critic.square().sum())


class StrayTerm(ToyModel):
    """A term for the output alone has a gradient on the hidden layer, of the same group, too."""

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        output = super().losses(phase, batch, step_info, carry)
        if phase != "generate":
            return output
        return _with_term(output, "small", self.out.square().mean() + 0.01 * self.hidden.square().mean())


class AttachedCarry(ToyModel):
    """What it carries still holds its graph."""

    def losses(self, phase: str, batch: Batch, step_info: StepInfo, carry: Carry) -> LossOutput:
        output = super().losses(phase, batch, step_info, carry)
        sums = batch["x"].mean(0) + 0 * self.critic.sum() + 0 * self.out.sum()
        return output if phase != "generate" else LossOutput(output.terms, {"sums": sums})


class LocalRefresh(ToyModel):
    """Each rank refreshes its template by its own samples."""

    def after_step(self, step_info: StepInfo, carry: Carry) -> None:
        self.template.lerp_(carry["sums"], 0.05)


class IdleParameter(ToyModel):
    """A parameter that no loss reaches."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype=dtype)
        self.idle = nn.Parameter(torch.zeros(2, dtype=dtype))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = super().parameter_groups()
        return {**groups, "generator": [*groups["generator"], self.idle]}


class Unseeded(ToyModel):
    """It starts from what the process drew before."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype=dtype)
        with torch.no_grad():
            self.hidden += torch.randn(self.hidden.shape)


class LawsOfLocalMean(Sound):
    model = LocalMean


class LawsOfLocalRefresh(Sound):
    model = LocalRefresh


class LawsOfHiddenState(Sound):
    model = HiddenState


class LawsOfTermOfAnotherGroup(Sound):
    model = TermOfAnotherGroup
    reach = None


class LawsOfStrayTerm(Sound):
    model = StrayTerm
    reach: ClassVar = {**TABLE, "small": {"out"}}


class LawsOfAttachedCarry(Sound):
    model = AttachedCarry


class LawsOfIdleParameter(Sound):
    model = IdleParameter


class LawsOfUnseeded(Sound):
    model = Unseeded


for _laws in (Sound, LawsOfLocalMean, LawsOfLocalRefresh):
    _laws.together = (Sound, LawsOfLocalMean, LawsOfLocalRefresh)


def _laws_of(laws: type[ModelLaws]) -> Sequence[str]:
    return [name for name in dir(laws) if name.startswith("test_") and "golden" not in name and "json" not in name]


@pytest.mark.parametrize("law", _laws_of(Sound))
def test_a_sound_model_keeps_them_all(law: str) -> None:
    getattr(Sound(), law)()


@pytest.mark.parametrize(
    ("laws", "law", "message"),
    [
        (LawsOfLocalMean, "test_many_ranks_equal_one", "step 0/generate/share/residual: 2 ranks differ from one"),
        (LawsOfLocalRefresh, "test_many_ranks_equal_one", "step 0/state/template: 2 ranks differ from one"),
        (LawsOfHiddenState, "test_a_restart_is_invisible", "step 3, loss/residual: .* in one go, .* when killed"),
        (
            LawsOfTermOfAnotherGroup,
            "test_every_term_reaches_what_it_is_for",
            "generate/decay reaches no parameter of its phase's groups",
        ),
        (
            LawsOfStrayTerm,
            "test_every_term_reaches_what_it_is_for",
            "generate/small reaches what it is not for: hidden$",
        ),
        (LawsOfAttachedCarry, "test_nothing_carried_holds_a_graph", "step 0/generate/sums"),
        (LawsOfIdleParameter, "test_every_parameter_is_trained", "no weighted term has a gradient on idle"),
        (LawsOfUnseeded, "test_the_start_follows_from_the_seed", "hidden depends on what the process drew before"),
    ],
)
def test_a_broken_law_is_found_and_named(laws: type[ModelLaws], law: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(laws(), law)()


def test_a_batch_that_is_not_the_global_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raylift.testing.gradients.gather_objects", lambda ids: [ids, ids[:1]])
    with pytest.raises(AssertionError, match="must give the global batch on every rank"):
        Sound().measure()


def test_laws_are_found_by_their_file_where_no_path_leads_to_them(tmp_path: Path) -> None:
    """As ranks, which are new processes, find those of a test file that pytest imported by its place."""
    file = tmp_path / "laws_off_the_path.py"
    file.write_text("from raylift.testing.laws import ModelLaws\nclass Theirs(ModelLaws):\n    recipe = 'a/b'\n")
    try:
        assert find_laws("laws_off_the_path", "Theirs", str(file)).recipe == "a/b"
    finally:
        sys.modules.pop("laws_off_the_path", None)


def test_a_table_that_is_wrong_is_refused() -> None:
    class Table(Sound):
        reach: ClassVar = {"residual": {"hidden"}, "doubt": {"hidden", "out", "critic"}, "gone": {"out"}}

    with pytest.raises(AssertionError) as refused:
        Table().test_every_term_reaches_what_it_is_for()
    for told in (
        "generate/residual reaches what it is not for: out",
        "generate/doubt does not reach critic",
        "criticise/critic is not in the table, and reaches critic",
        "gone is in the table, and no step has it",
    ):
        assert told in str(refused.value)


def test_golden_steps_are_compared_by_name_and_step(tmp_path: Path) -> None:
    class Golden(Sound):
        golden = tmp_path / "golden.json"

    with pytest.raises(AssertionError, match="record it: python -m raylift.testing.laws"):
        Golden().test_the_first_steps_are_the_golden_ones()
    steps = Golden().curve()
    Golden.golden.write_text(json.dumps(steps))
    Golden().test_the_first_steps_are_the_golden_ones()
    steps[2]["loss/residual"] *= 1.01
    Golden.golden.write_text(json.dumps(steps))
    with pytest.raises(AssertionError, match=r"step 2, loss/residual: .* in the file, .* now$"):
        Golden().test_the_first_steps_are_the_golden_ones()
