"""A run has one driver, which refuses what cannot work, records no secrets, and waits for a storage that is away."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raylift.core.errors import ConfigError, RayliftError, StorageError, StorageUnavailableError
from raylift.core.lease import Lease
from raylift.core.storage import Storage
from raylift.models import catalogue
from raylift.runs import sweep as sweeping
from raylift.runs import train as module
from raylift.runs.reconstruct import open_run_tracker
from raylift.runs.train import train
from raylift.runs.worker import RunPaths
from raylift.sweeps.records import SweepFolder
from raylift.training.loop import FitOutcome, RunProgress

SECRET = "postgresql://me:pa55word@db/mlflow"
REPORT = RunProgress(1, 2, {}, None)


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a fake training does, once it has been started, in ``does``."""
    about: dict[str, Any] = {}

    def train_worker(recipe: Any, place: RunPaths, device: Any, report: Any, through_ray: bool) -> None:
        about["files"] = Storage.at(place.folder).names()
        about["tracking"] = place.tracking
        about["does"](place, report)

    monkeypatch.setattr(module, "check_before_start", lambda recipe, place: None)
    monkeypatch.setattr(module, "train_worker", train_worker)
    about["does"] = lambda place, report: report(REPORT)
    return about


def _train(folder: Path, tracking: str = "", **more: Any) -> None:
    train(catalogue.get("implicit/test", ("scale.workers=0",)), folder / "data", folder, "x", tracking, **more)


def test_a_run_has_one_driver(training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raylift.core.lease.LEASE_S", 3.0)
    _train(tmp_path)
    assert training["files"] == ["lease-000001.json", "run.json"]

    def start_again(place: RunPaths, report: Any) -> None:
        with pytest.raises(ConfigError, match="run 'x' in .* is driven by process"):
            _train(tmp_path)

    training["does"] = start_again
    _train(tmp_path)
    training["does"] = lambda place, report: report(REPORT)
    _train(tmp_path / "trials", is_trial=True)
    assert training["files"] == ["run.json"], "the sweep's driver holds its lease"


def test_a_sweep_has_one_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raylift.core.lease.LEASE_S", 3.0)
    tracker = SimpleNamespace(run_id="", close=lambda trials, files, status: True)
    dataset = SimpleNamespace(manifest=SimpleNamespace(fingerprint="print"))
    reported: list[list[str]] = []

    def report(sweep: Any, base: Any, folder: SweepFolder, trials: Any) -> tuple[None, dict[str, str]]:
        reported.append(Storage.at(folder.uri).names())
        with pytest.raises(ConfigError, match="sweep 'x' in .* is driven by process"):
            run()
        return None, {}

    monkeypatch.setattr(sweeping, "_check", lambda sweep, base, place: 0)
    monkeypatch.setattr(sweeping, "base_recipe", lambda sweep: catalogue.get("implicit/test"))
    monkeypatch.setattr(sweeping.ShardedDataset, "open", lambda uri: dataset)
    monkeypatch.setattr(SweepFolder, "check", lambda self, sweep, data: None)
    monkeypatch.setattr(SweepFolder, "claim", lambda self, sweep, data, fingerprint: None)
    monkeypatch.setattr(sweeping, "SweepTracker", lambda sweep, base, place: tracker)
    monkeypatch.setattr(sweeping, "report_sweep", report)

    def run() -> None:
        sweeping.run_sweep(None, tmp_path / "data", tmp_path, "x")  # type: ignore[arg-type]

    run()
    assert reported == [["lease-000001.json"]]


def test_a_driver_that_was_replaced_ends_at_its_next_report(
    training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(place: RunPaths, report: Any) -> None:
        report(REPORT)
        (lease,) = (one for one in leases)
        lease._lose()
        report(REPORT)

    leases: list[Lease] = []
    acquire = Lease._acquire
    training["does"] = lose
    monkeypatch.setattr(Lease, "_acquire", lambda self: (leases.append(self), acquire(self))[1])
    with pytest.raises(ConfigError, match="taken over by another driver"):
        _train(tmp_path)


def test_secrets_are_neither_recorded_nor_logged(
    training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(tmp_path, SECRET)
    assert training["tracking"] == SECRET
    text = (tmp_path / "x" / "run.json").read_text()
    assert json.loads(text)["tracking"] == "postgresql://***@db/mlflow"
    assert "pa55word" not in text
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="credentials are not recorded") as caught:
        open_run_tracker(tmp_path / "x")
    assert "MLFLOW_TRACKING_URI" in caught.value.remedy


def test_addresses_with_secrets_are_refused(tmp_path: Path) -> None:
    recipe = catalogue.get("implicit/test", ("scale.workers=0", "start_from=s3://KEY:SECRET@bucket/x"))
    with pytest.raises(ConfigError, match=r"start_from holds credentials: s3://\*\*\*@bucket/x"):
        train(recipe, tmp_path, tmp_path, "x")
    with pytest.raises(StorageError, match="holds credentials or settings"):
        train(catalogue.get("implicit/test"), "s3://KEY:SECRET@bucket/x", tmp_path, "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("error", [StorageUnavailableError("away"), StorageError("denied"), ConfigError("lost")])
def test_only_what_lasts_ends_all_workers(error: RayliftError, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable storage is no reason not to start the workers again."""
    posted: list[RayliftError] = []
    lost: list[RayliftError] = []

    def train_worker(recipe: Any, place: Any, device: Any, report: Any) -> FitOutcome:
        report(RunProgress(1, 2, {}, None))
        if isinstance(error, ConfigError):
            lost.append(error)
            report(RunProgress(2, 2, {}, "step-00000002.pt"))
        raise error

    def remote(call: Any) -> SimpleNamespace:
        return SimpleNamespace(remote=call)

    board = SimpleNamespace(
        note_start=remote(lambda: None),
        failure=remote(lambda: lost[0] if lost else None),
        fail=remote(posted.append),
        post=remote(lambda report: None),
    )
    context = SimpleNamespace(get_world_rank=lambda: 0)
    about = SimpleNamespace(get_context=lambda: context, report=lambda metrics: None)
    monkeypatch.setattr(module, "ray", SimpleNamespace(get=lambda value: value, train=about))
    monkeypatch.setattr(module, "train_worker", train_worker)
    monkeypatch.setattr(module.torch, "set_num_threads", lambda count: None)
    config = {"board": board, "recipe": catalogue.get("implicit/test").to_json(), "use_gpu": False, "place": None}
    with pytest.raises(type(error)):
        module._ray_worker(config)
    assert posted == ([] if isinstance(error, StorageUnavailableError) else [error])
