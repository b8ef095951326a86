"""MLflow gets everything once, in a real store and from a real server, whatever falls over in between."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from raylift.core.errors import ConfigError, DataError
from raylift.tracking.address import default_tracking_uri
from raylift.tracking.catch_up import catch_up
from raylift.tracking.delivery import Delivery
from raylift.tracking.mlflow_tracker import MlflowTracker
from raylift.tracking.provenance import provenance_tags
from raylift.tracking.spool import Spool
from raylift.tracking.system_metrics import SystemMetrics, read_machine
from raylift.tracking.tracker import MemoryTracker, Tracker
from tests.tracking.conftest import Relay, free_port


def open_tracker(uri: str, spool: Path, **more: object) -> MlflowTracker:
    return MlflowTracker(uri, "implicit", "a run", spool, **{"system_metrics_every_s": 0.0, **more})  # type: ignore[arg-type]


def only_run(uri: str) -> tuple[MlflowClient, Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("implicit")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def test_a_run_has_all_it_was_told(store: Path) -> None:
    uri = default_tracking_uri(store)
    tracker = open_tracker(uri, store / "spool")
    note = store / "note.txt"
    note.write_text("hello")
    tracker.log_params({"model.image_px": 64, "name": "implicit/test"})
    tracker.set_tags({"model": "implicit"})
    tracker.log_metrics({"loss/total": 0.5, "odd(name)": 1.0}, 7)
    tracker.log_artifact(note, "texts")
    note.unlink()
    tracker.log_table(
        "scores", [{"protocol": "occnet", "iou": np.float32(0.5)}, {"protocol": "disn", "f": float("nan")}]
    )
    tracker.log_image("panels/chair", np.zeros((8, 8, 3), np.uint8), 7)
    tracker.log_dataset("seats", "s3://bucket/seats", "0123abc", {"objects": 3})
    tracker.finish()
    client, run = only_run(uri)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model.image_px": "64", "name": "implicit/test"}
    assert run.data.tags["model"] == "implicit"
    assert run.data.metrics == {"loss/total": 0.5, "odd_name_": 1.0}
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("seats", "0123abc")
    paths = {item.path for folder in ("", "texts", "images") for item in client.list_artifacts(run.info.run_id, folder)}
    assert {"texts/note.txt", "scores.json"} <= paths
    assert sum(path.startswith("images/panels~chair+step+7") for path in paths) == 2
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "scores.json")).read_text())
    assert table == {"columns": ["protocol", "iou", "f"], "data": [["occnet", 0.5, None], ["disn", None, "nan"]]}
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "scores.json", "type": "table"}]
    assert (store / "mlartifacts").is_dir()  # not in whatever folder the process happened to be


def test_a_restart_goes_on_in_the_same_run_and_repeats_no_step(store: Path) -> None:
    uri = default_tracking_uri(store)
    for first, stop in ((0, 6), (4, 10)):
        tracker = open_tracker(uri, store / "spool")
        for step in range(first, stop):
            tracker.log_metrics({"loss": float(step)}, step)
        tracker.finish("FAILED" if stop == 6 else "FINISHED")
    client, run = only_run(uri)
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, float(step)) for step in range(10)]
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("spools", [("one", "one"), ("one", "two")], ids=["same spool", "another machine"])
def test_a_value_that_replaces_another_is_the_one_shown(store: Path, spools: tuple[str, str]) -> None:
    uri = default_tracking_uri(store)
    for spool, value in zip(spools, (0.9, 0.4), strict=True):
        tracker = open_tracker(uri, store / spool, run_key="known")
        tracker.log_metrics({"test/iou": value}, 8, replace=True)
        tracker.finish()
    client, run = only_run(uri)
    assert run.data.metrics == {"test/iou": 0.4}
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "test/iou")] == [0.9, 0.4]


@pytest.mark.parametrize("by", ["run_key", "run_id"])
def test_a_restart_without_its_spool_finds_the_run(store: Path, by: str) -> None:
    uri = default_tracking_uri(store)
    first = open_tracker(uri, store / "one", run_key="known")
    first.log_metrics({"loss": 1.0}, 0)
    first.finish()
    _, run = only_run(uri)
    name = {"run_key": "known", "run_id": run.info.run_id}[by]
    second = open_tracker(uri, store / "two", **{by: name})
    second.log_metrics({"loss": 1.0}, 0)
    second.log_metrics({"loss": 2.0}, 1)
    second.finish()
    client, run = only_run(uri)
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [0, 1]


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED", "RUNNING"])
def test_what_is_added_to_a_run_leaves_its_status(store: Path, status: str) -> None:
    uri = default_tracking_uri(store)
    tracker = open_tracker(uri, store / "spool")
    tracker.finish()
    MlflowClient(uri).update_run(tracker.run_id, status=status)
    later = open_tracker(uri, store / "spool")
    later.set_tags({"measured": "yes"})
    later.finish("")
    _, run = only_run(uri)
    assert (run.info.status, run.data.tags["measured"]) == (status, "yes")


def test_a_lost_connection_does_not_make_an_ended_run_a_running_one(store: Path) -> None:
    uri = default_tracking_uri(store)
    tracker = open_tracker(uri, store / "spool")
    tracker.finish("FAILED")
    spool = Spool(store / "spool")
    delivery = Delivery(spool)
    delivery.send_pending()
    spool.add_event("nothing", {})
    with pytest.raises(AttributeError, match="_send_nothing"):
        delivery.send_pending()
    event = spool.unsent_event()
    assert event is not None
    spool.mark_event_sent(event)
    spool.add_event("finish", {"status": "", "time_ms": 1})
    delivery.send_pending()
    spool.close()
    assert only_run(uri)[1].info.status == "FAILED"


def test_a_run_that_begins_with_what_is_added_is_finished(store: Path) -> None:
    open_tracker(default_tracking_uri(store), store / "spool").finish("")
    assert only_run(default_tracking_uri(store))[1].info.status == "FINISHED"


def test_a_changed_param_is_refused_and_nothing_else_is_lost(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = default_tracking_uri(store)
    for value in (1, 2):
        tracker = open_tracker(uri, store / "spool")
        tracker.log_params({"seed": value})
        tracker.log_metrics({"loss": 0.0}, value)
        with caplog.at_level(logging.WARNING):
            tracker.finish()
    _, run = only_run(uri)
    assert run.data.params == {"seed": "1"}
    assert run.info.status == "FINISHED"
    assert "other values of seed (1)" in caplog.text


def test_children_name_their_parent(store: Path) -> None:
    tracker = open_tracker(default_tracking_uri(store), store / "spool", parent_run_id="abc")
    tracker.finish()
    assert only_run(default_tracking_uri(store))[1].data.tags["mlflow.parentRunId"] == "abc"


def test_bad_records_do_not_stop_the_run(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = open_tracker(default_tracking_uri(store), store / "spool")
    tracker.log_artifact(store / "missing.png")
    tracker.log_metrics({"loss": "no number"}, 0)  # type: ignore[dict-item]
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.finish()
    tracker.finish()
    assert only_run(default_tracking_uri(store))[1].data.metrics == {"loss": 1.0}
    assert "missing.png" in caplog.text


def test_an_unreachable_server_neither_blocks_nor_loses(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = open_tracker(f"http://127.0.0.1:{free_port()}", store / "spool", finish_timeout_s=0.5)
    for step in range(50):
        tracker.log_metrics({"loss": float(step)}, step)
    with caplog.at_level(logging.WARNING):
        tracker.finish()
    assert "51 records did not reach MLflow" in caplog.text
    identity = json.loads((store / "spool" / "run.json").read_text())
    identity["tracking_uri"] = default_tracking_uri(store)  # as if the server had come back
    (store / "spool" / "run.json").write_text(json.dumps(identity))
    assert catch_up(store / "spool") == 51
    client, run = only_run(default_tracking_uri(store))
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 50
    assert run.info.status == "FINISHED"


def test_a_killed_process_leaves_what_it_logged(store: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from raylift.tracking.mlflow_tracker import MlflowTracker\n"
        "tracker = MlflowTracker('http://127.0.0.1:9', 'implicit', 'a run', sys.argv[1], system_metrics_every_s=0)\n"
        "for step in range(20): tracker.log_metrics({'loss': float(step)}, step)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store / "spool")], capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    tracker = open_tracker(default_tracking_uri(store), store / "spool")
    tracker.log_metrics({"loss": 20.0}, 20)
    tracker.finish()
    client, run = only_run(default_tracking_uri(store))
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.step for metric in history] == list(range(21))


@pytest.mark.server
def test_a_server_that_goes_and_comes_back_has_every_step_once(tmp_path: Path, server: str) -> None:
    port = free_port()
    tracker = open_tracker(f"http://127.0.0.1:{port}", tmp_path / "spool", finish_timeout_s=120.0)
    for step in range(10):
        tracker.log_metrics({"loss": float(step)}, step)
    assert not tracker.flush(1.0)  # the server was away from the start
    relay = Relay(server, port)
    assert tracker.flush(120)
    relay.close()
    for step in range(10, 20):
        tracker.log_metrics({"loss": float(step)}, step)
    assert not tracker.flush(1.0)
    relay = Relay(server, port)
    note = tmp_path / "viewer.html"
    note.write_text("<p>hello</p>")
    tracker.log_artifact(note, "meshes")
    tracker.finish()
    run_id = tracker.run_id
    assert run_id is not None
    relay.close()
    client = MlflowClient(server)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == list(range(20))
    assert [item.path for item in client.list_artifacts(run_id, "meshes")] == ["meshes/viewer.html"]


def test_relative_stores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="relative"):
        open_tracker("sqlite:///mlflow.db", tmp_path / "spool")


def test_catching_up_needs_a_spool(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tracking spool"):
        catch_up(tmp_path)


def test_system_metrics_count_on(tmp_path: Path) -> None:
    import threading

    seen: list[int] = []
    enough = threading.Event()

    def report(values: object, step: int) -> None:
        seen.append(step)
        if len(seen) == 3:
            enough.set()

    metrics = SystemMetrics(report, lambda key: 4, 0.01)
    assert enough.wait(30)
    metrics.stop()
    assert seen[:3] == [5, 6, 7]
    assert all(name.startswith("system/") and np.isfinite(value) for name, value in read_machine().items())


def test_provenance_names_the_libraries() -> None:
    assert provenance_tags()["version.torch"].startswith("2.")


def test_the_memory_tracker_is_a_tracker() -> None:
    tracker: Tracker = MemoryTracker()
    tracker.log_metrics({"loss": 1.0}, 3)
    tracker.log_table("scores", [{"a": 1}])
    tracker.log_image("panel", np.zeros((2, 2, 3), np.uint8), 1)
    tracker.log_dataset("seats", "/data", "abc", {})
    tracker.log_model(Path("model"))
    tracker.finish()
    assert isinstance(tracker, MemoryTracker)
    assert (tracker.metrics, tracker.status) == ([(3, {"loss": 1.0})], "FINISHED")
