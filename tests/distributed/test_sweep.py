"""A sweep on a real Ray Tune: interrupted, resumed, with trials that end in every way; and checkpoints that change
hands."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from raylift.core.errors import ConfigError, DataError
from raylift.models import catalogue
from raylift.runs import sweep_report, sweep_trial
from raylift.runs.sweep import SweepEvent, run_sweep
from raylift.runs.sweep_report import SweepTracker
from raylift.runs.sweep_trial import Reporter, TrialPlace
from raylift.runs.train import train
from raylift.runs.worker import RunPaths
from raylift.sweeps.config import Sweep
from raylift.sweeps.records import SweepFolder
from raylift.sweeps.trial_recipes import base_recipe, trial_recipe
from raylift.training.checkpoint import CheckpointStore
from tests.sweeps.sweeps import make_sweep, make_trial

QUICK = ["schedule.eval_every=4", "schedule.checkpoint_every=4", "schedule.log_every=2", "evaluation.panels=0"]
ALONE = {"workers": 0, "cpus_per_worker": 2.0}
WEIGHTS = {"model.weights.sdf": {"kind": "log_uniform", "low": 1.0, "high": 50.0}}


def _sweep(**values: Any) -> Sweep:
    plain = {"overrides": QUICK, "resources": ALONE, "budget": {"trials": 4, "steps": 8}}
    return make_sweep(**{**plain, **values})


@pytest.mark.ray
def test_a_sweep_goes_on_where_it_stopped_and_reports_what_failed(cluster: None, data: Path, tmp_path: Path) -> None:
    """Trial 1 gets a learning rate that ends its loss; somebody presses Ctrl-C in trial 2."""
    from mlflow import MlflowClient

    rates = {"optimizers.default.learning_rate": {"kind": "grid", "values": [2e-3, 1e30, 1e-3, 4e-3]}}
    # Long trials: one that has reported once has many steps to go when the signal comes.
    sweep = _sweep(
        space=rates, searcher={"kind": "grid"}, resources={**ALONE, "concurrency": 1}, budget={"trials": 4, "steps": 40}
    )
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def interrupt(event: SweepEvent) -> None:
        if event.trial.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = {trial.number: trial for trial in run_sweep(sweep, data, tmp_path, "mine", uri, progress=interrupt).trials}
    assert before[0].end.status == "finished"
    assert before[2].end.status == "unfinished"
    events: list[SweepEvent] = []
    outcome = run_sweep(sweep, data, tmp_path, "mine", uri, progress=events.append)
    trials = {trial.number: trial for trial in outcome.trials}
    assert [trials[number].end.status for number in range(4)] == ["finished", "stopped", "finished", "finished"]
    assert trials[1].end.reason.startswith("non_finite: ")
    assert trials[0] == before[0], "what had ended was not run again"
    assert {event.trial.number for event in events} == {2, 3}
    assert [report.step for report in trials[2].reports] == list(range(4, 41, 4))
    best = outcome.best
    assert best is not None
    recipe = catalogue.get(outcome.best_recipe)
    assert recipe.optimizers["default"].learning_rate == best.values["optimizers.default.learning_rate"]
    assert recipe.schedule.num_steps == 40
    assert {Path(path).name for path in outcome.files} >= {"trials.csv", "parameters.png", "parallel.png"}
    client = MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("implicit").experiment_id])
    (parent,) = [run for run in runs if "sweep.fingerprint" in run.data.tags]
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert {name: run.info.status for name, run in children.items()} == {
        "trial-000": "FINISHED", "trial-001": "KILLED", "trial-002": "FINISHED", "trial-003": "FINISHED",
    }  # fmt: skip
    assert parent.data.metrics["best/val/iou"] == best.scores(sweep.metrics)[0]  # type: ignore[index]
    artifacts = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"best.json", "parallel.png", "trials.csv", "trials.json"} <= artifacts
    again = run_sweep(sweep, data, tmp_path, "mine", uri)
    assert again.num_run == 0
    assert again.trials == outcome.trials


class _Told:
    """What a trial says to Tune, without a Tune."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.steps: list[int] = []
        self.handed: list[Any] = []
        monkeypatch.setattr(sweep_trial.tune, "report", self.report)

    def report(self, metrics: dict[str, float], checkpoint: Any = None) -> None:
        self.steps.append(int(metrics["step"]))
        if checkpoint is not None:
            kept = checkpoint.to_directory(str(self.folder / f"handed-{len(self.handed)}"))
            self.handed.append(tune.Checkpoint.from_directory(kept))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> _Told:
    return _Told(monkeypatch, tmp_path)


@pytest.fixture
def reporter(data: Path, tmp_path: Path) -> Callable[..., tuple[Reporter, TrialPlace]]:
    """A trial of a sweep in this process."""

    def make(sweep: Sweep, number: int = 0, values: dict[str, Any] | None = None) -> tuple[Reporter, TrialPlace]:
        base = base_recipe(sweep)
        place = TrialPlace(sweep.to_dict(), base.to_json(), str(tmp_path / "mine"), str(data))
        folder = SweepFolder(place.folder)
        known = folder.trial(number)
        trial = known if known.generations else make_trial(number, values or {}, status="unfinished")
        return Reporter(sweep, place, trial), place

    return make


def test_a_population_s_trial_goes_on_from_a_better_one_with_other_weights(
    reporter: Callable[..., tuple[Reporter, TrialPlace]], told: _Told, data: Path
) -> None:
    sweep = _sweep(scheduler={"kind": "pbt"}, space=WEIGHTS, budget={"trials": 2, "steps": 12})
    base = base_recipe(sweep)
    donor, place = reporter(sweep, 0, {"model.weights.sdf": 10.0})
    donor.run(base)
    assert told.steps == [4, 8], "the last is not handed over: nobody is to go on from a trial that is through"
    handed = told.handed[1]
    worse, _ = reporter(sweep, 1, {"model.weights.sdf": 1.0})
    worse.run(base)
    values = {"model.weights.sdf": 12.0}
    heir, _ = reporter(sweep, 1)
    heir.take_up(handed, base, values)
    kept = heir.trial
    assert [one.step for one in kept.reports] == [8], "its own reports are of a model that it gave up"
    theirs = next(one for one in donor.trial.reports if one.step == 8)
    assert kept.score(sweep.metrics[0]) == theirs.metrics[sweep.metrics[0].name], "the other's model is scored"
    assert (kept.generation.run, kept.generation.donor, kept.generation.step) == ("trial-001.g1", 0, 8)
    planted = CheckpointStore(f"{place.folder}/trials/trial-001.g1/checkpoints")
    source = CheckpointStore(f"{place.folder}/trials/trial-000/checkpoints")
    entry = planted.last()
    assert entry is not None
    assert entry.recipe == trial_recipe(base, values).to_dict()
    (given,) = [one for one in source.entries() if one.step == 8]
    assert entry.sha256 == given.sha256, "weights, optimiser and position in the data, to the last bit"
    told.steps.clear()
    heir.run(base)
    assert SweepFolder(place.folder).trial(1).end.status == "finished"
    assert [one.step for one in heir.trial.reports] == [8, 12]
    assert heir.trial.steps == 16, "12 of its own and 4 after the change"
    done = planted.last()
    assert done is not None
    assert done.step == 12
    other = train(trial_recipe(base, values), data, f"{place.folder}/trials", "trial-001.g1")
    assert other.fit.resumed_from == 12


def test_a_trial_without_a_shape_is_stopped_by_its_rule(
    reporter: Callable[..., tuple[Reporter, TrialPlace]], told: _Told
) -> None:
    # Not even a ball is as thick as this asks for.
    sweep = _sweep(stop={"flat_steps": 4, "flat_below": 0.9999}, space=WEIGHTS)
    trial, place = reporter(sweep)
    trial.run(base_recipe(sweep))
    known = SweepFolder(place.folder).trial(0)
    assert known.end.status == "stopped"
    assert known.end.reason.startswith("no_shape_yet: no 3D at step 4")
    assert known.reports[0].step == 4
    assert told.steps == [4]


def test_a_trial_that_ends_without_a_word_to_its_scheduler_ends_as_an_error(
    reporter: Callable[..., tuple[Reporter, TrialPlace]], told: _Told
) -> None:
    sweep = _sweep(space={"optimizers.default.learning_rate": {"kind": "choice", "values": [1e30]}})
    trial, place = reporter(sweep, 0, {"optimizers.default.learning_rate": 1e30})
    with pytest.raises(RuntimeError, match="non_finite"):
        trial.run(base_recipe(sweep))
    assert SweepFolder(place.folder).trial(0).end.status == "stopped"
    assert told.steps == []


def test_a_metric_that_no_trial_reports_is_named_with_those_there_are(
    reporter: Callable[..., tuple[Reporter, TrialPlace]], told: _Told
) -> None:
    trial, place = reporter(_sweep(metrics=[{"name": "loss/critic"}], space=WEIGHTS))
    with pytest.raises(ConfigError, match=r"loss/critic never appears(.|\n)*loss/sdf"):
        trial.run(base_recipe(_sweep(space=WEIGHTS)))
    assert SweepFolder(place.folder).trial(0).end.reason.startswith("MetricError: metric loss/critic")


def test_what_cannot_work_is_refused_before_ray_starts(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric val/mask_iou never appears(.|\n)*val/iou"):
        run_sweep(_sweep(metrics=[{"name": "val/mask_iou"}]), data, tmp_path, "mine")
    with pytest.raises(DataError, match=r"no manifest\.json"):
        run_sweep(_sweep(), tmp_path, tmp_path, "mine")
    with pytest.raises(ConfigError, match="run name"):
        run_sweep(_sweep(), data, tmp_path, "../mine")
    SweepFolder(str(tmp_path / "mine")).claim(_sweep(searcher={"seed": 5}), str(data), "another")
    with pytest.raises(ConfigError, match=r"another sweep \(searcher\.seed: 5 there, 0 now\)"):
        run_sweep(_sweep(), data, tmp_path, "mine")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_a_tracking_server_that_is_away_loses_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sweep has to say is kept; when the server is back the same command sends it."""
    from mlflow import MlflowClient

    sweep = _sweep(space=WEIGHTS)
    base = base_recipe(sweep)
    away = "http://127.0.0.1:9"
    place = RunPaths(str(data), str(tmp_path), "mine", away, "implicit")
    said = [make_trial(0, {"model.weights.sdf": 2.0}, 0.5)]
    monkeypatch.setattr(sweep_report, "FIRST_PATIENCE_S", 0.3)
    monkeypatch.setattr(sweep_report, "LAST_PATIENCE_S", 0.3)
    assert not SweepTracker(sweep, base, place).close(said, {}, "FINISHED")
    monkeypatch.undo()
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    back = SweepTracker(sweep, base, RunPaths(str(data), str(tmp_path), "mine", uri, "implicit"))
    assert back.close([], {}, "FINISHED")
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("implicit").experiment_id])
    assert run.data.metrics["best/val/iou"] == 0.5
    assert run.data.tags["sweep.best"] == "trial-000"


def test_a_sweep_that_goes_on_with_the_same_trials_tells_the_new_best(data: Path, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    sweep = _sweep(space=WEIGHTS)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    place = RunPaths(str(data), str(tmp_path), "mine", uri, "implicit")
    first = [
        replace(make_trial(0, {"model.weights.sdf": 2.0}, 0.5), steps=10),
        replace(make_trial(1, {"model.weights.sdf": 3.0}, 0.3, status="unfinished"), steps=10),
    ]
    then = [first[0], replace(make_trial(1, {"model.weights.sdf": 3.0}, 0.3, 0.7), steps=20)]
    for trials in (first, then):
        assert SweepTracker(sweep, base_recipe(sweep), place).close(trials, {}, "FINISHED")
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("implicit").experiment_id])
    assert run.data.metrics == {"best/val/iou": 0.7, "trial/val/iou": 0.7}
    history = client.get_metric_history(run.info.run_id, "trial/val/iou")
    assert {point.step: point.value for point in history} == {0: 0.5, 1: 0.7}
