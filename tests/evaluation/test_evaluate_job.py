"""The evaluate job from a checkpoint to files, and what it says when it cannot."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from raylift.console import run_job
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue
from raylift.training.checkpoint import CheckpointStore
from tests.scripts import load_job

QUICK = (
    'evaluation.protocols=["disn"]',
    "evaluation.resolution=16",
    "evaluation.color_views=1",
    "evaluation.color_px=32",
    "evaluation.panels=1",
    "evaluation.baselines=false",
    "evaluation.lpips=true",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint of an untrained test recipe."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    recipe = catalogue.get("implicit/test")
    CheckpointStore(folder / "checkpoints").write(7, 10, catalogue.build_model(recipe), {}, recipe.to_dict())
    return folder


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """The script as a module: importing Ray and MLflow anew for every call would take most of the time."""
    return load_job("evaluate")


@pytest.fixture
def call(
    job: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Runs the job with a command line; gives its exit status and what it printed, on one line."""

    def call_job(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words)])
        status = run_job(job.Arguments, job.main, job.__doc__)
        return status, " ".join(capsys.readouterr().out.split())

    return call_job


def test_scores_panels_and_tracking_beside_the_run(
    run: Path, chairs: ShardedDataset, call: Callable[..., tuple[int, str]]
) -> None:
    status, printed = call("--run", run, "--data", chairs.uri, *QUICK)
    assert status == 0, printed
    folder = run / "evaluation" / "test"
    content = json.loads((folder / "scores.json").read_text())
    assert content["num_samples"] == 2
    assert {"panels.png", "turntable.gif"} <= {path.name for path in folder.iterdir()}
    assert (run.parent / "mlflow.db").is_file()
    assert "disn" in printed
    assert "LPIPS is left out" in printed


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--data", "DATA"), "give exactly one"),
        (("--run", "RUN", "--data", "DATA", "model.hidden=7"), "cannot change a trained model"),
        (("--run", "RUN", "--data", "DATA", "evaluation.resolutoin=7"), "resolution"),
        (("--run", "nowhere", "--data", "DATA"), "nowhere has no checkpoint"),
        (("--run", "RUN", "--data", "DATA", "--panels-of", "throne"), "throne: not in split test"),
    ],
)
def test_refusals_name_the_thing(
    run: Path,
    chairs: ShardedDataset,
    call: Callable[..., tuple[int, str]],
    words: tuple[str, ...],
    reason: str,
) -> None:
    status, printed = call(*(word.replace("RUN", str(run)).replace("DATA", chairs.uri) for word in words))
    assert status == 2
    assert reason in printed
