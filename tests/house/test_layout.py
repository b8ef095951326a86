"""The house itself: its top level, its imports, its files."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "platform" / "raylift").rglob("*.py"))


def test_platform_is_never_a_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would shadow the standard library's platform module"


def test_the_standard_library_platform_wins_from_the_root() -> None:
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_top_level_holds_only_what_the_design_names() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {line.split("/")[0] for line in listed.splitlines()}
    allowed = {"pyproject.toml", "platform", "jobs", "tuning", "infra", "tests", "README.md"}
    allowed |= {"LICENSE", "Makefile", "requirements.lock", ".gitignore", ".rayignore", ".ci"}
    allowed |= {"CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "SECURITY.md"}
    assert top <= allowed, f"unexpected at the top: {sorted(top - allowed)}"


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(
    ("module", "homes"),
    [
        ("ray", ("data", "runs")),
        ("mlflow", ("tracking",)),
        ("torch.distributed", ("core/collectives.py", "testing/ranks.py")),
    ],
)
def test_an_import_has_its_home(module: str, homes: tuple[str, ...]) -> None:
    package = ROOT / "platform" / "raylift"
    strays = [
        str(path.relative_to(package))
        for path in SOURCES
        if any(name == module or name.startswith(module + ".") for name in _imports(path))
        and not str(path.relative_to(package)).startswith(homes)
    ]
    assert not strays, f"{module} is imported outside of {homes}: {strays}"


def test_models_are_strangers() -> None:
    models = ROOT / "platform" / "raylift" / "models"
    for model in (folder for folder in models.iterdir() if folder.is_dir() and folder.name != "__pycache__"):
        others = {folder.name for folder in models.iterdir() if folder.is_dir()} - {model.name}
        for path in model.rglob("*.py"):
            known = {name for name in _imports(path) for other in others if f"models.{other}" in name}
            assert not known, f"{path} knows another model: {known}"


def test_nothing_outside_its_folder_names_a_model() -> None:
    package = ROOT / "platform" / "raylift"
    names = {path.parent.name for path in (package / "models").glob("*/recipes.py")}
    assert len(names) >= 4
    # These are words of the field as well: their imports count alone.
    words = re.compile(rf"\b({'|'.join(names - {'poses', 'templates'})})\b")
    strays = []
    for path in SOURCES:
        if path.relative_to(package).parts[:2] in {("models", name) for name in names}:
            continue
        strays += [
            f"{path}: {found}"
            for found in _imports(path)
            if found.startswith("raylift.models.") and found.split(".")[2] in names
        ]
        if path.parent.name != "commands":  # whose defaults are recipes
            strays += [f"{path}:{line} {text!r}" for line, text in _code_words(path) if words.search(text)]
    assert not strays, "\n".join(strays)


def _code_words(path: Path) -> Iterator[tuple[int, str]]:
    """Identifiers and strings, but not docstrings: those cite papers."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "platform" / "raylift")))
def test_a_file_is_one_idea(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 450, "split it"
    assert ast.get_docstring(ast.parse(text)), "say in a docstring what this file is"
    assert path.stem not in ("utils", "util", "helper", "helpers", "manager", "misc", "common"), "name the idea"


def test_public_functions_say_what_they_do() -> None:
    silent = []
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            named = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
            if named and not ast.get_docstring(node) and len(node.body) > 2:
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not silent, "\n".join(silent)


def test_no_job_hides_a_module_of_the_standard_library() -> None:
    # A script's folder comes first on its import path: jobs/inspect.py would break every `import dataclasses`.
    scripts = [path.stem for folder in ("jobs", "tuning") for path in (ROOT / folder).glob("*.py")]
    assert not set(scripts) & sys.stdlib_module_names


def test_requirements_name_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_what_a_submitted_job_leaves_at_home_is_nothing_of_ours() -> None:
    """``data/`` without a slash before it once kept platform/raylift/data from every submitted job."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-from=.rayignore"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert listed.stdout == ""
