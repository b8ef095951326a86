"""Code has users, and equations are where training runs (law 6).

Both are read off the source: names that jobs, and what jobs reach, refer to. What only tests and benchmarks refer to is
used by, moved to ``tests/reference``, or deleted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.house.references import Definition, Module, Reach, public, reached, read_module, read_package

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "platform" / "raylift" / "models"
WITH_EQUATIONS = ("implicit", "mesh_texture", "shelf")

STARTED_BY_NAME = {
    "raylift.tracking.catch_up": "python -m, as the warning of an unreachable MLflow server says",
    "raylift.tracking.served_model": "MLflow runs it to load a logged model",
    "raylift.testing.laws": "the law tests of a model, in its own package too",
}
"""Modules that users start without a job, and who tells them."""

UNREACHED = {
    "raylift.losses.adaptive_gradient_analysis": "analysis: the paper's argument, which tests hold against training's",
    "raylift.rendering.surface_transform.transform.to_surface": "all of the surface; training samples it",
    "raylift.rendering.surface_transform.transform.SurfaceFeatures": "what it returns",
}
"""Definitions, or whole modules of them, that nothing but tests reaches, and why they stay."""

CALLED_BY_LIBRARIES = {
    "forward": "torch calls it when a module is called",
    "raylift.data.sources.mesh_reading.ContainedFiles.namespaced": "trimesh asks a resolver for it",
    "raylift.runs.sweep_schedulers.Proposing.suggest": "Ray Tune asks a searcher for it",
    "raylift.api.reconstruction.Reconstruction.export": "programs and notebooks of users call it",
    "raylift.tracking.model.PyfuncReconstructor.load_context": "MLflow calls it",
    "raylift.tracking.model.PyfuncReconstructor.predict": "MLflow calls it",
}
"""Methods (of every class, or of one) that only another package or a user's program calls, and which."""


@cache
def package() -> dict[str, Module]:
    return read_package(ROOT / "platform" / "raylift")


def found_by_place() -> list[str]:
    """Modules that ``models.catalogue`` and ``data.sources.registry`` import because of their folder."""
    recipes = [f"raylift.models.{path.parent.name}.recipes" for path in sorted(MODELS.glob("*/recipes.py"))]
    return recipes + [name for name in package() if name.startswith("raylift.data.sources.")]


def unreached(modules: dict[str, Module]) -> set[Definition]:
    found = reached(modules, scripts_of_users(), [*found_by_place(), *STARTED_BY_NAME]).definitions
    return set(public(modules)) - found


def test_every_public_definition_has_a_user_that_is_no_test() -> None:
    idle = {str(one) for one in unreached(package()) if not {one.module, str(one)} & set(UNREACHED)}
    assert not idle, "use it, move it to tests/reference, or delete it:\n" + "\n".join(sorted(idle))


def test_exceptions_are_needed() -> None:
    idle = {name for one in unreached(package()) for name in (one.module, str(one))}
    assert set(UNREACHED) <= idle, f"no exception any more: {sorted(set(UNREACHED) - idle)}"
    assert set(STARTED_BY_NAME) <= set(package())


def idle_methods(modules: dict[str, Module], scripts: Iterable[Module]) -> set[str]:
    """Public methods and properties of public classes whose names no code of the package, jobs or tuning asks for."""
    asked = {
        name for module in (*modules.values(), *scripts) for node in ast.walk(module.tree) for name in _asked_for(node)
    }
    return {
        f"{name}.{own}.{method.name}"
        for name, module in modules.items()
        if name not in STARTED_BY_NAME
        for own, nodes in module.definitions.items()
        if not own.startswith("_")
        for node in nodes
        for method in getattr(node, "body", [])
        if isinstance(node, ast.ClassDef) and isinstance(method, ast.FunctionDef)
        if not method.name.startswith("_") and method.name not in asked
    }


def _asked_for(node: ast.AST) -> list[str]:
    """The names that a piece of code asks objects for; short strings too, which ``getattr`` may get."""
    if isinstance(node, ast.Attribute):
        return [node.attr]
    is_short = isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    return [str(node.value)] if is_short else []  # type: ignore[attr-defined]


def scripts_of_users() -> list[Module]:
    """What users start: the ``raylift`` command, jobs, sweeps and tables."""
    scripts = [path for folder in ("jobs", "tuning") for path in (ROOT / folder).rglob("*.py")]
    return [read_module(path) for path in (ROOT / "platform" / "raylift" / "__main__.py", *scripts)]


def test_every_public_method_has_a_user_that_is_no_test() -> None:
    idle = idle_methods(package(), scripts_of_users())
    excepted = {name for name in idle if {name, name.rpartition(".")[2]} & set(CALLED_BY_LIBRARIES)}
    needed = excepted | {name.rpartition(".")[2] for name in excepted}
    assert set(CALLED_BY_LIBRARIES) <= needed, "no exception any more"
    idle -= excepted
    assert not idle, "use it, move it to the tests, or delete it:\n" + "\n".join(sorted(idle))


class Row(NamedTuple):
    """A row of an equation table: its first cell, the names of its "where", and, of an analysis, who uses them."""

    paper: str
    where: list[str]
    used_by: list[str]


def equation_rows(readme: Path) -> list[Row]:
    """Rows of the tables between the heading "Equation → function" and the next one of its rank."""
    section = readme.read_text().split("## Equation → function\n")[1].split("\n## ")[0]
    rows, columns = [], []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            columns = []
        elif not columns:
            columns = [cell.strip() for cell in line.strip("|").split("|")]
        elif not set(line) <= set("|- "):
            assert len(cells) == len(columns), line
            named = dict(zip(columns, cells, strict=True))
            quoted = {name: re.findall(r"`([^`]+)`", named.get(name, "")) for name in ("where", "used by")}
            rows.append(Row(cells[0], quoted["where"], quoted["used by"]))
    return rows


def find(name: str, model: str, before: str) -> tuple[str, list[str]] | None:
    """The module that a name in a table is of, and the rest of it: nothing, a definition, or a class and its method.

    Names are of the package, of the model's folder, or of the module that the row named before.
    """
    for prefix in ("raylift", f"raylift.models.{model}", before):
        parts = f"{prefix}.{name}".split(".")
        for length in range(len(parts), 1, -1):
            module, rest = ".".join(parts[:length]), parts[length:]
            if module in package() and (not rest or _is_defined(package()[module], rest)):
                return module, rest
    return None


def _is_defined(module: Module, rest: list[str]) -> bool:
    nodes = module.definitions.get(rest[0], [])
    if len(rest) == 1:
        return bool(nodes)
    return any(getattr(part, "name", "") == rest[1] for node in nodes for part in getattr(node, "body", []))


@cache
def trained(model: str) -> Reach:
    """What a training of one model reaches."""
    job = read_module(ROOT / "jobs" / "train.py")
    return reached(package(), [job], [f"raylift.models.{model}.recipes"])


@cache
def attributes(model: str) -> set[str]:
    """Names that the modules of a training ask objects for: what says that a method is used."""
    trees = [package()[name].tree for name in trained(model).modules]
    return {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def faults(rows: list[Row], model: str) -> list[str]:
    """What is wrong with a table: names that are not there, or not where the table says that they are used."""
    wrong, reach = [], trained(model)
    for row in rows:
        before = ""
        for name in row.where:
            if not re.fullmatch(r"[\w.]+", name):
                continue
            found = find(name, model, before)
            if found is None:
                wrong.append(f"{row.paper}: there is no {name}")
                continue
            before, rest = found
            in_training = Definition(before, rest[0]) in reach.definitions if rest else before in reach.modules
            in_training = in_training and set(rest[1:]) <= attributes(model)
            if not row.used_by and not in_training:
                wrong.append(f"{row.paper}: no training of {model} reaches {name}")
            if row.used_by and in_training:
                wrong.append(f"{row.paper}: {name} is used in training, so it is no analysis")
            for user in row.used_by:
                path = ROOT / user
                if not path.is_file() or not rest or rest[-1] not in path.read_text():
                    wrong.append(f"{row.paper}: {user} does not use {name}")
    return wrong


@pytest.mark.parametrize("model", WITH_EQUATIONS)
def test_equations_are_where_training_runs_or_marked_as_analysis(model: str) -> None:
    rows = equation_rows(MODELS / model / "README.md")
    assert len([row for row in rows if row.where]) >= 8
    wrong = faults(rows, model)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("model", "last"), [("mesh_texture", 47), ("shelf", 11)])
def test_every_equation_of_the_paper_is_in_the_table(model: str, last: int) -> None:
    """Each in training or in the analysis."""
    listed: set[int] = set()
    for row in equation_rows(MODELS / model / "README.md"):
        if re.fullmatch(r"[\d, -]+", row.paper):
            for part in row.paper.split(","):
                first, _, end = part.strip().partition("-")
                listed |= set(range(int(first), int(end or first) + 1))
    assert listed == set(range(1, last + 1))


def test_the_rules_notice(tmp_path: Path) -> None:
    """Unused functions, one of which the other calls; and tables that point at the wrong thing."""
    source = tmp_path / "idle.py"
    source.write_text("def used():\n    return used()\n\n\ndef caller():\n    return used()\n")
    modules = {**package(), "raylift.idle": read_module(source)}
    assert {str(one) for one in unreached(modules)} >= {"raylift.idle.used", "raylift.idle.caller"}
    source.write_text(
        "class Chair:\n    def stand(self):\n        pass\n\n    def fall_over(self):\n        self.stand()\n"
    )
    assert idle_methods({"raylift.idle": read_module(source)}, []) == {"raylift.idle.Chair.fall_over"}
    tests = ["tests/losses/test_adaptive_gradient.py"]
    for row, word in (
        (Row("1", ["losses.silhouette.no_such_loss"], []), "there is no"),
        (Row("22", ["losses.adaptive_gradient_analysis.bilinear_weights"], []), "no training"),
        (Row("18", ["losses.adaptive_gradient.sample_at"], tests), "no analysis"),
        (Row("22", ["losses.adaptive_gradient_analysis.bilinear_weights"], ["tests/losses/test_parts.py"]), "not use"),
    ):
        assert word in "".join(faults([row], "mesh_texture"))
    assert not faults([Row("22", ["losses.adaptive_gradient_analysis.bilinear_weights"], tests)], "mesh_texture")
