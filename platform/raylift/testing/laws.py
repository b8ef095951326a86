"""The laws that every model keeps, as tests that a model takes by naming its recipe.

    from raylift.testing.laws import ModelLaws

    class TestMyModel(ModelLaws):
        recipe = "mymodel/test"

is a whole test file: pytest finds the methods. Name the smallest recipe; every law builds its model several times.
The golden losses of its first steps are recorded, and recorded again after a change that is meant to move them, by

    python -m raylift.testing.laws mymodel/test golden.json
    python -m raylift.testing.laws test_mymodel:TestMyModel golden.json

where the second form takes overrides, batch and start from the class.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import ClassVar
from unittest import SkipTest

import torch

from raylift.config.recipe import Recipe
from raylift.core.dataset_info import DatasetInfo
from raylift.core.model import Model
from raylift.core.step_info import StepInfo
from raylift.core.types import Batch
from raylift.models import catalogue
from raylift.testing.batches import CATEGORIES, synthetic_batch, synthetic_examples
from raylift.testing.gradients import (
    Measured,
    attached_carries,
    differences,
    measured_steps,
    parameters_reached,
    wake,
)
from raylift.testing.ranks import run_ranks
from raylift.testing.short_runs import run_differences, short_run

GOLDEN = ("loss/", "gradient_norm/", "learning_rate/")
GOLDEN_TOLERANCE = 1e-3
"""Relative: more than another BLAS or thread count changes, less than a change of the model does."""


class ModelLaws:
    """Tests of one model, by a recipe. A subclass whose name begins with ``Test`` is collected by pytest.

    Attributes:
        recipe: a name in the catalogue, or a recipe's JSON file.
        overrides: ``path=value`` of the recipe.
        worlds: numbers of ranks that are compared with one.
        batch_size: samples of the global batch: ranks' parts should differ in size, as 5 among 2 or 4 do.
        moments: the steps at which terms and gradients are looked at, in order, on one state; list those at which
            terms begin.
        num_steps: length of the runs that are resumed and recorded.
        reach: for each weighted term the parameter groups, modules or parameters that it is for, by name; the term is
            named alone, or as ``phase/term`` where two phases have one of that name. Together they are all that it
            may reach. None asks only that it reaches something of its phase's groups.
        golden: JSON file with the losses of the first steps; None has none.
        together: laws whose models are built when ranks are started for this one, which takes seconds each time.
    """

    recipe: ClassVar[str]
    overrides: ClassVar[Sequence[str]] = ()
    worlds: ClassVar[Sequence[int]] = (2, 4)
    batch_size: ClassVar[int] = 5
    moments: ClassVar[Sequence[StepInfo]] = (StepInfo(0, 4), StepInfo(3, 4, epoch=3))
    num_steps: ClassVar[int] = 4
    reach: ClassVar[Mapping[str, Collection[str]] | None] = None
    golden: ClassVar[str | Path | None] = None
    together: ClassVar[Sequence[type[ModelLaws]]] = ()

    def get_recipe(self) -> Recipe:
        """The recipe, with the overrides."""
        return catalogue.get(self.recipe, self.overrides)

    def info(self) -> DatasetInfo:
        """What the model is told of the data set: as many images and objects as the batch has, and its categories."""
        return DatasetInfo(self.batch_size, categories=CATEGORIES, num_objects=self.batch_size)

    def build(self) -> Model:
        """The model, freshly initialised, float32, on the CPU."""
        return catalogue.build_model(self.get_recipe(), self.info())

    def batch(self, model: Model) -> Batch:
        """The global batch, float32, ``batch_size`` samples; the same in every process."""
        return synthetic_batch(model.request, self.batch_size)

    def start(self, model: Model) -> None:
        """What happens to a fresh model before its first step, in every law: by default, it keeps training objects."""
        if model.example_request is not None:
            model.keep_examples(synthetic_examples(model.example_request, self.batch(model)))

    def prepare(self, model: Model) -> None:
        """Put the model off its start, where gradients may be zero; only for the laws that look at gradients."""
        wake(model)

    def test_the_recipe_survives_json(self) -> None:
        recipe = self.get_recipe()
        assert catalogue.from_json(recipe.to_json()) == recipe, "what is read back is not what was written"

    def test_the_start_follows_from_the_seed(self) -> None:
        torch.manual_seed(1)
        first = self.build().state_dict()
        torch.manual_seed(2)
        for name, value in self.build().state_dict().items():
            assert torch.equal(value, first[name]), (
                f"{name} depends on what the process drew before: draw it by core.generators, or in a fork_rng"
            )

    def test_many_ranks_equal_one(self) -> None:
        """Shares add up to the loss of one rank, and its gradients and its refreshed state are on all of them."""
        laws = type(self)
        classes = tuple(dict.fromkeys((*laws.together, laws)))
        (alone,) = _measured(1, (laws,))
        for world in self.worlds:
            ranks = [one[_name(laws)] for one in _measured(world, classes)]
            _refuse(differences(alone[_name(laws)], ranks), f"{world} ranks are not one")

    def test_a_restart_is_invisible(self) -> None:
        """Losses, weights, buffers and optimizer states of a killed and resumed run are those of one in one go."""
        recipe, num_steps = self.get_recipe(), self.num_steps
        batch = self.batch(self.build())
        with tempfile.TemporaryDirectory() as folder:
            whole, killed = Path(folder) / "whole", Path(folder) / "killed"
            expected = short_run(self.build(), batch, recipe, num_steps, init_fn=self.start, folder=whole)
            before = short_run(
                self.build(), batch, recipe, num_steps, init_fn=self.start, folder=killed, killed_at=num_steps - 1
            )
            # Another process would have drawn other numbers by now.
            torch.manual_seed(3)
            resumed = short_run(self.build(), batch, recipe, num_steps, init_fn=self.start, folder=killed)
        _refuse(run_differences(expected, before, resumed), "a restart shows")

    def test_every_term_reaches_what_it_is_for(self) -> None:
        model = self._awake()
        names = {name for name, _ in model.named_parameters()}
        reached = parameters_reached(model, self.batch(model), self.moments)
        wrong = []
        for term, sets in reached.items():
            found = set().union(*sets)
            if not found:
                wrong.append(f"{term} reaches no parameter of its phase's groups")
            if self.reach is None:
                continue
            meant = self.reach.get(term, self.reach.get(term.partition("/")[2]))
            if meant is None:
                wrong.append(f"{term} is not in the table, and reaches {_listed(found)}")
                continue
            parts = {name: _parameters_of(model, name) & names for name in meant}
            wrong += [f"{term} does not reach {name}" for name, part in parts.items() if not part & found]
            strays = found - set().union(*parts.values())
            if strays:
                wrong.append(f"{term} reaches what it is not for: {_listed(strays)}")
        known = {name for term in reached for name in (term, term.partition("/")[2])}
        wrong += [f"{term} is in the table, and no step has it" for term in self.reach or {} if term not in known]
        _refuse(wrong, "terms do not train what they are for")

    def test_every_parameter_is_trained(self) -> None:
        model = self._awake()
        wanted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        in_groups = {id(one) for group in model.parameter_groups().values() for one in group}
        stray = {name for name, one in model.named_parameters() if name in wanted and id(one) not in in_groups}
        assert not stray, f"these require gradients and are in no parameter group: {_listed(stray)}"
        reached = parameters_reached(model, self.batch(model), self.moments)
        trained = set().union(*(one for sets in reached.values() for one in sets))
        assert wanted <= trained, f"no weighted term has a gradient on {_listed(wanted - trained)}"

    def test_nothing_carried_holds_a_graph(self) -> None:
        model = self._awake()
        attached = attached_carries(model, self.batch(model), self.moments)
        assert not attached, f"detach what is carried: {_listed(attached)}"

    def test_the_first_steps_are_the_golden_ones(self) -> None:
        if self.golden is None:
            raise SkipTest("this model has no golden file")
        path = Path(self.golden)
        again = f"python -m raylift.testing.laws {_name(type(self))} {path}"
        assert path.is_file(), f"there is no {path}; record it: {again}"
        kept, found = json.loads(path.read_text()), self.curve()
        assert len(kept) == len(found), f"{path} has {len(kept)} steps, this run {len(found)}; record it again: {again}"
        wrong = []
        for step, (theirs, ours) in enumerate(zip(kept, found, strict=True)):
            for name in sorted({*theirs, *ours}):
                was, now = theirs.get(name, math.nan), ours.get(name, math.nan)
                if not math.isclose(was, now, rel_tol=GOLDEN_TOLERANCE, abs_tol=1e-9):
                    wrong.append(f"step {step}, {name}: {was} in the file, {now} now")
        _refuse(wrong, f"numbers have moved (if they are meant to: {again})")

    def curve(self) -> list[dict[str, float]]:
        """Losses, norms of gradients and learning rates of the first steps."""
        model = self.build()
        run = short_run(model, self.batch(model), self.get_recipe(), self.num_steps, init_fn=self.start)
        return [
            {name: value for name, value in metrics.items() if name.startswith(GOLDEN)}
            for metrics in run.metrics.values()
        ]

    def _awake(self) -> Model:
        model = self.build().train()
        self.start(model)
        self.prepare(model)
        return model

    def measure(self) -> Measured:
        """Shares, gradients and state on this rank, in float64."""
        model = self._awake()
        batch = self.batch(model)
        fields = {name: v.double() if v.is_floating_point() else v for name, v in batch.fields.items()}
        camera = None if batch.camera is None else batch.camera.to("cpu", torch.float64)
        return measured_steps(model.double(), Batch(batch.ids, batch.keys, fields, camera), self.moments)


_MEASURED: dict[tuple[int, tuple[str, ...]], list[dict[str, Measured]]] = {}
"""What has been measured in this process, by the number of ranks and the names of laws."""


def _measured(world: int, classes: Sequence[type[ModelLaws]]) -> list[dict[str, Measured]]:
    """What each rank measures, by name of the laws; of one rank, here."""
    key = (world, tuple(_name(laws) for laws in classes))
    if key not in _MEASURED:
        if world == 1:
            _MEASURED[key] = [{_name(laws): laws().measure() for laws in classes}]
        else:
            files = [str(sys.modules[laws.__module__].__file__) for laws in classes]
            places = [(laws.__module__, laws.__qualname__, file) for laws, file in zip(classes, files, strict=True)]
            _MEASURED[key] = run_ranks(world, measured_here, places)
    return _MEASURED[key]


def measured_here(places: Sequence[tuple[str, str, str]]) -> dict[str, Measured]:
    """What laws measure on this rank, by ``module:class``.

    Args:
        places: of each class its module, its name in it, and the module's file, where the module is not on the path.
    """
    return {f"{module}:{name}": find_laws(module, name, file)().measure() for module, name, file in places}


def find_laws(module: str, name: str, file: str = "") -> type[ModelLaws]:
    """The class of that name, from a module that can be imported or from its file."""
    found: object = _module(module, file)
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[return-value]


def _module(name: str, file: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(name, file) if file else None
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module


def _name(laws: type[ModelLaws]) -> str:
    return f"{laws.__module__}:{laws.__qualname__}"


def _parameters_of(model: Model, name: str) -> set[str]:
    """Names of the parameters of a group, of a module, or the one of that name."""
    group = model.parameter_groups().get(name)
    if group is not None:
        members = {id(parameter) for parameter in group}
        return {one for one, parameter in model.named_parameters() if id(parameter) in members}
    found = {one for one, _ in model.named_parameters() if one == name or one.startswith(f"{name}.")}
    assert found, f"{name!r} of the table is neither a parameter group nor a module or parameter of the model"
    return found


def _listed(names: Collection[str], most: int = 8) -> str:
    shown = sorted(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _refuse(wrong: Sequence[str], summary: str, most: int = 12) -> None:
    more = [f"and {len(wrong) - most} more"] if len(wrong) > most else []
    assert not wrong, "\n  ".join([f"{summary}:", *wrong[:most], *more])


def record(recipe: str, file: Path) -> None:
    """Write the golden losses of a recipe, or of laws given as ``module:class``."""
    if ":" in recipe:
        module, _, name = recipe.partition(":")
        laws = find_laws(module, name)
    else:
        laws = type("Recorded", (ModelLaws,), {"recipe": recipe})
    file.write_text(json.dumps(laws().curve(), indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"{__doc__}\nusage: python -m raylift.testing.laws RECIPE|MODULE:CLASS FILE")
    torch.set_num_threads(1)
    record(sys.argv[1], Path(sys.argv[2]))
    print(f"wrote {sys.argv[2]}")
