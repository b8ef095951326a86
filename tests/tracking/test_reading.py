"""Runs are found by id, name and folder, and read back as they were told; what is not there is said."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from raylift.core.errors import ConfigError
from raylift.tracking.address import default_tracking_uri, tracking_of
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.reading import TrackingReader
from raylift.tracking.registry import check_names, logged_model, register_model
from tests.tracking.conftest import free_port


def tell(store: Path, name: str, folder: str) -> str:
    """A run with a little of everything; gives its id."""
    place = store / folder
    tracker = MlflowTracker(
        default_tracking_uri(store), "implicit", name, place / "tracking", system_metrics_every_s=0.0
    )
    tracker.log_params({"seed": 0})
    tracker.set_tags({"model": "implicit", "run.folder": str(place), "data.fingerprint": "d1"})
    for step in (2, 1):
        tracker.log_metrics({"loss/total": 1.0 / step}, step)
    tracker.log_metrics({"test/ifnet/iou_mean": 0.5}, 2)
    tracker.log_table("evaluation/test/objects", [{"method": "model", "id": "chair#0", "ifnet/iou": 0.5}])
    for mesh, file in (("evaluation/test/meshes", "001-chair_0.glb"), ("meshes/step-00000009", "0-001-chair_0.glb")):
        path = store / f"{mesh.replace('/', '-')}" / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mesh.encode())
        tracker.log_artifact(path, mesh)
    tracker.set_tags({"evaluation.test.data": "d2"})
    tracker.log_dataset("seats", "/data/seats", "d1", {"objects": 3})
    tracker.finish()
    assert tracker.run_id is not None
    return tracker.run_id


def test_a_run_is_found_by_whatever_names_it_and_read_back(store: Path) -> None:
    first, second = tell(store, "it's a run", "one"), tell(store, "other", "two")
    reader = TrackingReader(default_tracking_uri(store))
    assert reader.find("it's a run") == reader.find(first) == reader.find(str(store / "one")) == first
    (store / "two" / "tracking" / "run.json").unlink()  # as on another machine, by the tag
    assert reader.find(str(store / "two")) == reader.find("other") == second
    run = reader.read(first)
    assert run.curves == {"loss/total": ((1, 1.0), (2, 0.5))}
    assert run.metrics["test/ifnet/iou_mean"] == 0.5
    assert run.scores == {"test": [{"method": "model", "id": "chair#0", "ifnet/iou": 0.5}]}
    assert run.data == {"training": "d1", "test": "d2"}
    assert (run.model, run.status, run.params) == ("implicit", "FINISHED", {"seed": "0"})
    meshes = reader.fetch_meshes(first, "test", store / "fetched")
    assert {name: path.read_bytes() for name, path in meshes.items()} == {"001-chair_0": b"evaluation/test/meshes"}
    drawn = reader.fetch_meshes(first, "val", store / "drawn")
    assert drawn["001-chair_0"].read_bytes() == b"meshes/step-00000009"
    page = store / "page.html"
    page.write_text("<p>")
    reader.add_file(first, page, "comparisons")
    assert reader.read(first).status == "FINISHED"

    for what, message in (
        ("othr", "has no run 'othr'(.|\n)*did you mean 'other'"),
        ("0" * 32, "has no run '0+'"),
        (str(store / "three"), "has no run '.*three'"),
    ):
        with pytest.raises(ConfigError, match=message):
            reader.find(what)
    third = tell(store, "other", "three")
    with pytest.raises(ConfigError, match=f"2 runs of .* are called 'other'(.|\n)*{third}"):
        reader.find("other")

    assert logged_model(reader.uri, first) == ""
    with pytest.raises(ConfigError, match="has logged no model"):
        register_model(reader.uri, first, "seats", "best")


def test_the_model_that_a_run_logged_last_is_its_model(store: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModelOutput

    run_id = tell(store, "trained twice", "one")
    client = MlflowClient(default_tracking_uri(store))
    experiment = client.get_run(run_id).info.experiment_id
    made = []
    for step in range(6):
        model = client.create_logged_model(experiment, name=f"step-{step}", source_run_id=run_id)
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
        made.append(model.model_id)
        time.sleep(0.005)  # the time of its making is kept in milliseconds
    assert logged_model(default_tracking_uri(store), run_id) == made[-1]


def test_a_store_or_server_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no tracking store .*/mlflow.db"):
        TrackingReader(default_tracking_uri(tmp_path))
    assert not (tmp_path / "mlflow.db").exists()
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConfigError, match=f"tracking server {address} does not answer"):
        TrackingReader(address).find("a run")


def test_where_runs_are_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "run.json").write_text(json.dumps({"tracking": "http://there"}))
    assert tracking_of("http://given", [str(tmp_path)]) == "http://given"
    assert tracking_of("", ["a name", str(tmp_path)]) == "http://there"
    assert tracking_of("", ["a name"]) == default_tracking_uri("runs")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://environment")
    assert tracking_of("", [str(tmp_path)]) == "http://environment"


@pytest.mark.parametrize(("name", "alias"), [("", ""), ("a/b", ""), ("a b", ""), ("seats", "v2"), ("seats", "latest")])
def test_names_that_no_registry_takes_are_refused(name: str, alias: str) -> None:
    with pytest.raises(ConfigError, match="model name|alias"):
        check_names(name, alias)
    check_names("seats", "best")
