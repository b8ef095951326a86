"""The wheel: built as a release is, installed into an empty folder without a network, and used from another one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import pytest
import trimesh

import raylift
from raylift.commands.main import COMMANDS

ROOT = Path(__file__).parents[2]
RELEASED = ("pyproject.toml", "README.md", "LICENSE", "platform", "tuning", "jobs")
BUILD = "from setuptools import build_meta; import sys; print(build_meta.build_{}(sys.argv[1]))"
HEAVY = ("torch", "ray", "mlflow", "numpy", "tyro", "rich")
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
Run = Callable[..., str]


def installer(python: str) -> list[str]:
    """The client that installs for an interpreter."""
    return [UV, "pip", "install", "--python", python] if UV else [python, "-m", "pip", "install"]


def build(kind: str, source: Path, out: Path) -> Path:
    """The file that the build backend makes, as ``python -m build`` calls it."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(kind), str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source distribution of a copy: a build leaves files next to its sources."""
    folder = tmp_path_factory.mktemp("release")
    source = folder / "source"
    source.mkdir()
    for name in RELEASED:
        if (ROOT / name).is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=left_out)
        else:
            shutil.copy(ROOT / name, source)
    with tarfile.open(build("sdist", source, folder)) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return build("wheel", next((folder / "unpacked").iterdir()), folder)


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the installed command in a folder; returns what it printed."""
    target = tmp_path_factory.mktemp("installed")
    offline = "--offline" if UV else "--no-index"
    words = [*installer(sys.executable), offline, "--no-deps", "--target", str(target), str(wheel)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(target), "COLUMNS": "200", "NO_COLOR": "1"}

    def run_command(*words: object, cwd: Path, python: tuple[str, ...] = ()) -> str:
        command = [sys.executable, *(python or (str(target / "bin" / "raylift"),)), *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_command


def test_the_wheel_has_everything_that_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for kind in ("sweeps", "tables"):
        for path in (ROOT / "tuning" / kind).glob("*.json"):
            assert f"raylift/{kind}/ready/{path.name}" in names
    package = ROOT / "platform" / "raylift"
    kept = [path for path in package.rglob("*") if path.suffix in (".js", ".css", ".html", ".glsl", ".py")]
    assert not {f"raylift/{path.relative_to(package)}" for path in kept} - names
    assert "raylift/py.typed" in names


def test_there_is_one_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert Parser().parsestr(archive.read(metadata).decode())["Version"] == raylift.__version__
    assert f"version: {raylift.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_help_and_version_import_nothing_heavy(run: Run, tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path) == f"raylift {raylift.__version__}\n"
    code = f"""
import sys, raylift
from raylift.commands.main import main
main(["--help"])
print(raylift.__file__, *[name for name in {HEAVY} if name in sys.modules])
"""
    *told, last = run(cwd=tmp_path, python=("-c", code)).splitlines()
    assert [line.split()[0] for line in told if line.startswith("  ")] == [command.name for command in COMMANDS]
    assert last.endswith("__init__.py"), "imports of these make it slow"
    assert not last.startswith(str(ROOT)), "the checkout was imported, not the wheel"


@pytest.mark.slow
def test_the_tiny_demo_makes_meshes_from_an_empty_folder(run: Run, tmp_path: Path) -> None:
    told = run("demo", "--tiny", cwd=tmp_path)
    assert "$ raylift reconstruct --run runs/demo-tiny/implicit-test" in told
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    out = tmp_path / "runs" / "demo-tiny"
    assert json.loads((out / "implicit-test" / "evaluation" / "test" / "scores.json").read_text())["num_samples"] == 2
    meshes = sorted((out / "meshes").glob("*.glb"))
    assert len(meshes) == 2
    assert len(trimesh.load(meshes[0], force="mesh").faces) > 100
    assert (out / "meshes" / "viewer.html").is_file()


@pytest.mark.download
@pytest.mark.slow
def test_a_bare_environment_installs_and_runs_it(wheel: Path, tmp_path: Path) -> None:
    """With the real dependencies, from the registry."""
    venv.create(tmp_path / "bare", with_pip=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    binaries, empty = tmp_path / "bare" / "bin", tmp_path / "empty"
    empty.mkdir()
    for command in ([*installer(str(binaries / "python")), str(wheel)], [str(binaries / "raylift"), "demo", "--tiny"]):
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((empty / "runs" / "demo-tiny" / "meshes").glob("*.glb"))) == 2
