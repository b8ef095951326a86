"""A model in a package of its own: installed, found, trained and scored by the ordinary commands, and kept to the laws.

The package is in ``outside/``. It is installed into a folder, without a network, and only the processes that are
started here see it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.opening import open_source
from raylift.models import catalogue
from raylift.models.entry import ModelEntry
from raylift.training.checkpoint import CheckpointStore

ROOT = Path(__file__).parents[2]
OUTSIDE = Path(__file__).with_name("outside")
TINY = ShapesConfig(
    num_views=2,
    image_px=32,
    samples=200,
    cloud_points=1000,
    surface_points=1500,
    iou_points=1000,
    truth_resolution=40,
    scan_views=20,
    scan_px=64,
)
Run = Callable[..., str]


def _installer() -> list[str]:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    return (
        [uv, "pip", "install", "--offline", "--python", sys.executable]
        if uv
        else [sys.executable, "-m", "pip", "install"]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs Python with the package installed; gives what it printed, on one line."""
    folder = tmp_path_factory.mktemp("installed")
    # A build leaves files beside its sources.
    source = shutil.copytree(OUTSIDE, tmp_path_factory.mktemp("source") / "tinyball")
    options = ["--no-deps", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*_installer(), *options, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(folder), str(ROOT / "platform"), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}

    def run_python(*words: object, cwd: Path = ROOT) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    return run_python


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chairs to train on, one to test on."""
    folder = tmp_path_factory.mktemp("tiny")
    splits = {f"procedural/0-{index:05d}": "train" if index < 2 else "test" for index in range(3)}
    ingest([open_source("procedural:3")], str(folder), TINY, listed_splits=splits, parallel="none")
    return folder


def test_it_is_trained_resumed_and_scored_by_the_ordinary_commands(run: Run, tiny: Path, tmp_path: Path) -> None:
    command = ("jobs/train.py", "tinyball/test", "--data", tiny, "--storage", tmp_path, "--tracking", "none")
    assert "tinyball/test" in run(*command, "scale.workers=0")
    store = CheckpointStore(tmp_path / "tinyball-test" / "checkpoints")
    first, last = store.entries()[0], store.entries()[-1]
    assert (first.step, last.step) == (4, 8)
    whole = store.read(last).model
    for suffix in ("json", "pt"):
        (tmp_path / "tinyball-test" / "checkpoints" / f"{last.stem}.{suffix}").unlink()
    assert "resumed from 4" in run(*command, "scale.workers=0")
    resumed = store.read(store.entries()[-1]).model
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    told = run("jobs/evaluate.py", "--run", tmp_path / "tinyball-test", "--data", tiny, "--tracking", "none")
    assert "iou" in told
    assert (tmp_path / "tinyball-test" / "evaluation" / "test" / "scores.json").is_file()


def test_its_own_tests_keep_it_to_the_laws(run: Run, tmp_path: Path) -> None:
    for name in ("law_tests.py", "golden.json"):
        shutil.copy(OUTSIDE / name, tmp_path)
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "law_tests.py", cwd=tmp_path)
    assert "8 passed" in told


@dataclass(frozen=True)
class _Point:
    """An entry point as ``importlib.metadata`` gives it."""

    name: str
    found: Any
    value: str = "somewhere.recipes:ENTRY"

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def _installed(
    monkeypatch: pytest.MonkeyPatch, *points: _Point, own: tuple[str, ...] = ()
) -> tuple[dict[str, ModelEntry], dict[str, str]]:
    monkeypatch.setattr(catalogue, "entry_points", lambda group: points if group == "raylift.models" else ())
    return catalogue._installed_models(own)


@pytest.fixture
def entry() -> ModelEntry:
    return replace(next(iter(catalogue.MODELS.values())), name="theirs")


def test_a_package_that_does_not_load_keeps_no_other_from_working(
    monkeypatch: pytest.MonkeyPatch, entry: ModelEntry
) -> None:
    missing = _Point("broken", ImportError("no module named 'gone'"))
    loaded, broken = _installed(monkeypatch, missing, _Point("theirs", entry))
    assert loaded == {"theirs": entry}
    assert broken == {"broken": "somewhere.recipes:ENTRY: ImportError: no module named 'gone'"}


def test_an_entry_of_another_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, broken = _installed(monkeypatch, _Point("theirs", {"test": 1}))
    assert not loaded
    assert broken == {"theirs": "somewhere.recipes:ENTRY is a dict, not a ModelEntry"}


def test_an_entry_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch, entry: ModelEntry) -> None:
    loaded, broken = _installed(monkeypatch, _Point("mine", entry))
    assert not loaded
    assert broken == {"mine": "somewhere.recipes:ENTRY calls itself 'theirs': use one name"}


def test_a_name_is_given_once(monkeypatch: pytest.MonkeyPatch, entry: ModelEntry) -> None:
    clash = {"theirs (other.recipes:ENTRY)": "another model has this name"}
    first, second = _Point("theirs", entry), _Point("theirs", entry, "other.recipes:ENTRY")
    assert _installed(monkeypatch, first, second) == ({"theirs": entry}, clash)
    assert _installed(monkeypatch, second, own=("theirs",)) == ({}, clash)


def test_asking_for_a_broken_model_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.BROKEN, "broken", "somewhere.recipes:ENTRY: ImportError: gone")
    with pytest.raises(ConfigError, match=r"the model 'broken' could not be loaded: .*ImportError: gone"):
        catalogue.get("broken/test")
