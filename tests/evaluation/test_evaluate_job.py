"""The evaluate job from a checkpoint to files, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raylift import recipes
from raylift.data.dataset import ShardedDataset
from raylift.training.checkpoint import CheckpointStore

JOB = Path(__file__).parents[2] / "jobs" / "evaluate.py"
QUICK = (
    'evaluation.protocols=["disn"]',
    "evaluation.resolution=16",
    "evaluation.color_views=1",
    "evaluation.color_px=32",
    "evaluation.panels=1",
    "evaluation.baselines=false",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint of an untrained test recipe."""
    folder = tmp_path_factory.mktemp("runs") / "untrained"
    recipe = recipes.get("implicit/test")
    CheckpointStore(folder / "checkpoints").write(7, 10, recipes.build_family(recipe), {}, recipe.to_dict())
    return folder


def _job(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(JOB), *map(str, words)], capture_output=True, text=True, check=False)


def test_scores_panels_and_tracking_beside_the_run(run: Path, chairs: ShardedDataset) -> None:
    done = _job("--run", run, "--data", chairs.uri, *QUICK)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = run / "evaluation" / "test"
    content = json.loads((folder / "scores.json").read_text())
    assert content["num_samples"] == 2
    assert {"panels.png", "turntable.gif"} <= {path.name for path in folder.iterdir()}
    assert (run.parent / "mlflow.db").is_file()
    assert "disn" in done.stdout
    assert "LPIPS is left out" in done.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--data", "DATA"), "give exactly one"),
        (("--run", "RUN", "--data", "DATA", "family.hidden=7"), "cannot change a trained model"),
        (("--run", "RUN", "--data", "DATA", "evaluation.resolutoin=7"), "resolution"),
        (("--run", "nowhere", "--data", "DATA"), "nowhere has no checkpoint"),
    ],
)
def test_refusals_name_the_thing(run: Path, chairs: ShardedDataset, words: tuple[str, ...], reason: str) -> None:
    done = _job(*(word.replace("RUN", str(run)).replace("DATA", chairs.uri) for word in words))
    assert done.returncode == 2
    assert reason in " ".join(done.stdout.split())
