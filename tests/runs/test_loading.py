"""One model by all of its names: run, checkpoint, exported folder, MLflow URIs; each with its iso-level."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest
import torch

from raylift.api import evaluation as api
from raylift.commands.reconstruct import Arguments, open_reconstructor
from raylift.core.errors import DataError
from raylift.models import catalogue
from raylift.runs.exported_model import export_model
from raylift.runs.iso_level import keep_level
from raylift.runs.loading import open_trained
from raylift.runs.reconstruct import Reconstructor, log_model
from raylift.runs.trained_model import TrainedModel
from raylift.tracking.address import default_tracking_uri
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.model import fetch_model
from raylift.tracking.registry import register_model
from raylift.training.checkpoint import CheckpointStore

LEVEL = 0.0125


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint, whose averages differ from its parameters, and a chosen iso-level."""
    folder = tmp_path_factory.mktemp("runs") / "balls"
    recipe = catalogue.get("implicit/test", ["model.conditioning.kind=image"])
    model = catalogue.build_model(recipe)
    name, value = next(iter(model.named_parameters()))
    averages = {"model": {"averages": {name: value.detach() + 1}}}
    store = CheckpointStore(folder / "checkpoints")
    store.write(5, 12, model, averages, recipe.to_dict(), {"val/iou": 0.5})
    keep_level(store.path(store.entries()[0]), LEVEL)
    return folder


def assert_same(found: TrainedModel, expected: TrainedModel) -> None:
    assert found.recipe == expected.recipe
    assert found.info == expected.info
    for name, value in expected.model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value, atol=0, rtol=0)
    assert Reconstructor.of_trained(found).level == Reconstructor.of_trained(expected).level == LEVEL


def test_runs_checkpoints_and_exported_folders_are_one_model(run: Path, tmp_path: Path) -> None:
    expected = TrainedModel.of_run(run, "cpu")
    assert next(iter(expected.model.state_dict().values())).ne(0).any()
    exported = export_model(expected, tmp_path / "model")
    for source in (run, run / "checkpoints", run / "checkpoints" / "step-00000005.pt", exported):
        assert_same(open_trained(source, "cpu"), expected)
    assert_same(open_trained(export_model(open_trained(exported, "cpu"), tmp_path / "again"), "cpu"), expected)
    asked = Arguments(tmp_path, tmp_path, model=exported, device="cpu")
    assert (open_reconstructor(asked).where, open_reconstructor(asked).level) == (exported, LEVEL)
    card = Path(exported, "README.md").read_text()
    assert "# implicit/test: balls" in card
    assert "* val/iou: 0.5" in card


def test_an_explicit_level_of_the_recipe_wins(run: Path, tmp_path: Path) -> None:
    exported = Path(export_model(TrainedModel.of_run(run, "cpu"), tmp_path / "model"))
    values = json.loads((exported / "recipe.json").read_text())
    values["evaluation"]["level"] = 0.5
    (exported / "recipe.json").write_text(json.dumps(values))
    assert Reconstructor.open(exported, "cpu").level == 0.5


def test_logged_models_load_by_their_uris(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = TrainedModel.of_run(run, "cpu")
    (tmp_path / "runs").mkdir()
    uri = default_tracking_uri(tmp_path / "runs")
    tracker = MlflowTracker(uri, "implicit", "balls", tmp_path / "spool", system_metrics_every_s=0)
    log_model(tracker, run)
    tracker.finish()
    assert tracker.run_id is not None
    before = mlflow.get_tracking_uri()
    logged = f"runs:/{tracker.run_id}/model"
    assert_same(open_trained(logged, "cpu", uri), expected)
    assert mlflow.get_tracking_uri() == before, "the caller's own tracking goes on"
    with pytest.raises(DataError, match="cannot fetch the model models:/none@best"):
        open_trained("models:/none@best", "cpu", uri)
    folder = fetch_model(logged, uri)
    assert_same(TrainedModel.open(folder, "cpu"), expected)
    assert not [path for path in folder.parents[1].rglob("*") if path.suffix in (".pkl", ".pt")]
    assert_same(open_trained(folder.parents[1], "cpu"), expected)  # MLflow's own folder
    register_model(uri, tracker.run_id, "balls", "best")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)  # by default, the store in ./runs
    found = open_trained("models:/balls@best", "cpu")
    assert found.where == "models:/balls@best"
    assert_same(found, expected)


def test_scores_are_logged_where_training_was(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the choice: ``tests/distributed`` logs scores for real."""
    calls: list[tuple[object, ...]] = []

    class Scored:
        report, files = None, ()

    monkeypatch.setattr(api, "evaluate_trained", lambda *_: Scored())
    monkeypatch.setattr(api, "track_evaluation", lambda *given: calls.append(given) or "somewhere")
    monkeypatch.setattr(api.ShardedDataset, "open", lambda _: None)
    assert api.evaluate(run, "data", out=tmp_path).tracking_uri == ""
    (run / "run.json").write_text('{"tracking": "sqlite:////there"}')
    assert api.evaluate(run, "data", out=tmp_path).tracking_uri == "somewhere"
    assert calls == [(str(run), "", calls[0][2], None, 5)]
    assert api.evaluate(run, "data", out=tmp_path, tracking="none").tracking_uri == ""
    assert api.evaluate(export_model(TrainedModel.of_run(run), tmp_path / "m"), "data", out=tmp_path).tracking_uri == ""
