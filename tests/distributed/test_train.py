"""Training on a real Ray: two workers, kills, resumes, S3, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import trimesh
from mlflow.entities import Run

from raylift.config.recipe import Recipe
from raylift.core.errors import CheckpointError, ConfigError, DataError, TrainingError
from raylift.core.storage import Storage
from raylift.models import catalogue
from raylift.runs.train import TrainOutcome, train
from raylift.training.checkpoint import CheckpointStore, open_checkpoint
from raylift.training.loop import RunProgress
from tests.s3_server import Fault, FaultyProxy

NUM_STEPS = 40
SCALED = ("scale.workers=2", "scale.cpus_per_worker=0.5", "scale.data_cpus=0.25")


def _recipe(*overrides: str) -> Recipe:
    schedule = (
        f"schedule.num_steps={NUM_STEPS}",
        "schedule.log_every=1",
        "schedule.eval_every=20",
        "schedule.checkpoint_every=8",
        "evaluation.panels=0",
    )
    return catalogue.get("implicit/test", (*schedule, *SCALED, *overrides))


class Watcher:
    """Collects what a run reports, by step; what is reported twice must be reported alike. May act at a step."""

    def __init__(self, act_at: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self.told: dict[int, dict[str, float]] = {}
        self._act_at, self._act = act_at, act

    def __call__(self, report: RunProgress) -> None:
        news = {name: value for name, value in report.metrics.items() if not name.startswith("throughput/")}
        assert self.told.setdefault(report.step, news) == news
        if self._act_at and report.step >= self._act_at:
            self._act_at = 0
            self._act()


def _is_a_training_worker(process: psutil.Process) -> bool:
    try:
        return any("RayTrainWorker" in word for word in process.cmdline()[:1])
    except psutil.Error:  # Ray's helpers come and go; one may end, or be a zombie, between the list and this look.
        return False


def _kill_a_worker() -> None:
    """SIGKILL the training worker of the higher process id, among those of this process's own Ray."""
    workers = [process for process in psutil.Process().children(recursive=True) if _is_a_training_worker(process)]
    assert len(workers) == 2
    os.kill(max(worker.pid for worker in workers), signal.SIGKILL)


def _mlflow_run(tracking_uri: str) -> Run:
    """The only MLflow run there."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri)
    (run,) = client.search_runs([client.get_experiment_by_name("implicit").experiment_id])
    return run


@pytest.fixture(scope="module")
def undisturbed(
    cluster: None, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainOutcome, dict[int, dict[str, float]]]:
    watcher = Watcher()
    outcome = train(_recipe(), data, tmp_path_factory.mktemp("undisturbed"), "calm", progress=watcher)
    return outcome, watcher.told


@pytest.mark.ray
def test_two_workers_learn_what_one_process_learns(
    undisturbed: tuple[TrainOutcome, dict[int, dict[str, float]]], data: Path, tmp_path: Path
) -> None:
    outcome, told = undisturbed
    assert outcome.num_restarts == 0
    assert (outcome.fit.step, outcome.fit.resumed_from) == (NUM_STEPS, None)
    assert sorted(told) == list(range(1, NUM_STEPS + 1))
    alone = Watcher()
    local = train(_recipe("scale.workers=0"), data, tmp_path, "alone", progress=alone)
    assert local.num_workers == 0
    # Float32 sums in another order drift apart slowly; the first steps are close, the last are alike.
    for step in (1, 2, 3):
        assert told[step]["loss/total"] == pytest.approx(alone.told[step]["loss/total"], rel=1e-4)
    assert told[NUM_STEPS]["loss/total"] == pytest.approx(alone.told[NUM_STEPS]["loss/total"], rel=0.05)
    assert told[NUM_STEPS]["loss/total"] < 0.8 * told[1]["loss/total"]


@pytest.mark.ray
def test_a_run_leaves_what_other_jobs_need(undisturbed: tuple[TrainOutcome, dict[int, dict[str, float]]]) -> None:
    outcome, told = undisturbed
    folder = Path(outcome.place.folder)
    about = json.loads((folder / "run.json").read_text())
    assert about["data"] == outcome.place.data
    assert catalogue.from_json(json.dumps(about["recipe"])) == _recipe()
    assert outcome.fit.best is not None
    best = open_checkpoint(outcome.fit.best)
    assert catalogue.from_json(json.dumps(best.entry.recipe)) == _recipe()
    best.load_weights(catalogue.build_model(_recipe()))
    assert best.entry.metrics["val/iou"] == max(told[step]["val/iou"] for step in (20, 40))
    assert outcome.fit.last is not None
    assert outcome.fit.last.endswith("step-00000040.pt")


@pytest.mark.ray
def test_a_killed_worker_restarts_by_itself_and_nobody_can_tell(
    undisturbed: tuple[TrainOutcome, dict[int, dict[str, float]]], data: Path, tmp_path: Path
) -> None:
    """One MLflow run goes through the crash, and it has each step once.

    Once the checkpoint of step 16 has been started, that of step 8 has been committed.
    """
    from mlflow import MlflowClient

    watcher = Watcher(17, _kill_a_worker)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    outcome = train(_recipe(), data, tmp_path, "killed", uri, progress=watcher)
    assert outcome.num_restarts == 1
    assert outcome.fit.resumed_from is not None
    assert 8 <= outcome.fit.resumed_from < NUM_STEPS
    assert watcher.told == undisturbed[1]
    run = _mlflow_run(uri)
    assert run.info.status == "FINISHED"
    history = MlflowClient(uri).get_metric_history(run.info.run_id, "loss/total")
    assert sorted(point.step for point in history) == list(range(1, NUM_STEPS + 1))
    assert {point.step: point.value for point in history} == {
        step: news["loss/total"] for step, news in undisturbed[1].items()
    }


@pytest.mark.ray
def test_the_same_command_goes_on(
    undisturbed: tuple[TrainOutcome, dict[int, dict[str, float]]], data: Path, tmp_path: Path
) -> None:
    watcher = Watcher(17, _kill_a_worker)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(TrainingError, match=r"run 'again' stopped: (.|\n)*rerun the same command to resume"):
        train(_recipe("scale.max_failures=0"), data, tmp_path, "again", uri, progress=watcher)
    assert max(watcher.told) < NUM_STEPS
    assert _mlflow_run(uri).info.status == "FAILED"
    # The scale is no part of what is learned: the command may even give more retries or other workers.
    outcome = train(_recipe(), data, tmp_path, "again", uri, progress=watcher)
    assert outcome.fit.resumed_from is not None
    assert watcher.told == undisturbed[1]
    assert _mlflow_run(uri).info.status == "FINISHED"


@pytest.mark.ray
@pytest.mark.server
def test_checkpoints_and_data_on_s3_that_is_away_for_a_while(
    undisturbed: tuple[TrainOutcome, dict[int, dict[str, float]]], data: Path, bucket: str, proxy: FaultyProxy
) -> None:
    """No worker is restarted, and no step differs."""
    for path in data.iterdir():
        (Storage.at(bucket) / "chairs").write(path.name, path.read_bytes())

    def end_outage() -> None:
        proxy.always = None

    def begin_outage() -> None:
        proxy.always = Fault()
        threading.Timer(4.0, end_outage).start()

    watcher = Watcher(12, begin_outage)
    short = _recipe("schedule.keep_last=1")
    outcome = train(short, f"{bucket}/chairs", f"{bucket}/runs", "cloud", progress=watcher)
    assert proxy.always is None
    assert outcome.num_restarts == 0
    assert watcher.told == undisturbed[1]
    assert outcome.fit.last == f"{bucket}/runs/cloud/checkpoints/step-00000040.pt"
    open_checkpoint(outcome.fit.last).load_weights(catalogue.build_model(short))
    steps = {entry.step for entry in CheckpointStore(outcome.place.checkpoints).entries()}
    assert steps <= {20, 40}
    again = train(short, f"{bucket}/chairs", f"{bucket}/runs", "cloud")
    assert again.fit.resumed_from == NUM_STEPS
    assert again.fit.metrics["val/iou"] == outcome.fit.metrics["val/iou"]


@pytest.mark.server
def test_one_process_waits_for_its_storage(data: Path, bucket: str, proxy: FaultyProxy, tmp_path: Path) -> None:
    """Outages while it trains and commits: the losses are those of a calm run."""
    local = ("scale.workers=0", "schedule.num_steps=6", "schedule.checkpoint_every=2", "schedule.eval_every=0")
    calm, watcher = Watcher(), Watcher()
    train(_recipe(*local), data, tmp_path, "calm", progress=calm)
    for path in data.iterdir():
        (Storage.at(bucket) / "few").write(path.name, path.read_bytes())

    def disturb(report: RunProgress) -> None:
        watcher(report)
        proxy.faults.extend([Fault(), Fault("reset"), Fault("cut"), Fault("lose")])

    outcome = train(_recipe(*local), f"{bucket}/few", f"{bucket}/runs", "alone", progress=disturb)
    assert watcher.told == calm.told
    assert outcome.fit.step == 6
    proxy.faults.clear()
    about = Storage.at(bucket) / "runs" / "alone"
    assert about.names() == ["lease-000001.json", "run.json"]
    assert proxy.endpoint.encode() not in about.read("run.json")


@pytest.mark.ray
def test_a_loss_that_is_not_finite_ends_the_run_without_retries(cluster: None, data: Path, tmp_path: Path) -> None:
    wild = _recipe("optimizers.default.learning_rate=1e30", "optimizers.default.schedule.kind=constant")
    with pytest.raises(TrainingError, match=r"step \d+, phase 'fit': (term|all terms).*not.*finite.*#\d") as caught:
        train(wild, data, tmp_path, "wild")
    assert "procedural" in caught.value.problem


def test_what_cannot_work_is_refused_before_anything_starts(data: Path, tmp_path: Path) -> None:
    local = ("scale.workers=0", "schedule.num_steps=4", "schedule.checkpoint_every=2", "schedule.eval_every=0")
    train(_recipe(*local), data, tmp_path, "mine")
    with pytest.raises(CheckpointError, match=r"model\.weights\.sdf: 10\.0 there, 5\.0 now"):
        train(_recipe(*local, "model.weights.sdf=5.0"), data, tmp_path, "mine")
    last = tmp_path / "mine" / "checkpoints" / "step-00000004.pt"
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"step-00000004\.pt is damaged(.|\n)*last good .*step-00000002\.pt"):
        train(_recipe(*local), data, tmp_path, "mine")
    with pytest.raises(ConfigError, match="a batch of 1 is too small for 2 workers"):
        train(_recipe("data.batch_size=1"), data, tmp_path, "other")
    with pytest.raises(ConfigError, match=r"optimizers\.critic: the model has no such parameter group"):
        train(_recipe(*local, "optimizers.critic.learning_rate=1e-4"), data, tmp_path, "other")
    with pytest.raises(ConfigError, match="run name"):
        train(_recipe(*local), data, tmp_path, "../out")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        train(_recipe(*local), tmp_path, tmp_path, "other")
    assert not (tmp_path / "other").exists()


def test_held_out_objects_are_drawn_and_their_meshes_kept(data: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    known = ("model.conditioning.kind=gt_sdf", "model.conditioning.resolution=32", "scale.workers=0")
    shown = ("evaluation.panels=1", "schedule.panel_every=30", "schedule.num_steps=60", "schedule.eval_every=0")
    train(_recipe(*known, *shown), data, tmp_path, "shown", uri)
    run = _mlflow_run(uri)
    client = MlflowClient(uri)
    pictures = {item.path for item in client.list_artifacts(run.info.run_id, "images")}
    assert {f"images/panels+step+{step}" for step in (30, 60)} <= {path.split("+timestamp")[0] for path in pictures}
    (last,) = client.list_artifacts(run.info.run_id, "meshes/step-00000060")
    mesh = trimesh.load(client.download_artifacts(run.info.run_id, last.path, str(tmp_path)), force="mesh")
    assert len(mesh.faces) > 50, "a field that knows the true distances has a surface after 60 steps"
