"""Checkpoints in the background: what they save is the moment they were started, and nothing is half committed."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from raylift.config.optimizers import OptimizerConfig
from raylift.config.schedule import ScheduleConfig
from raylift.core import storage
from raylift.core.errors import StorageError
from raylift.core.model import Model
from raylift.core.types import Batch
from raylift.testing.ranks import run_ranks
from raylift.training.background_commit import BackgroundCommit
from raylift.training.checkpoint import CheckpointStore
from raylift.training.loop import Hooks, RunProgress, fit
from raylift.training.plan import FitPlan
from raylift.training.snapshot import Snapshot
from tests.training.toy import ToyModel, feed

OPTIMIZERS = {"default": OptimizerConfig(learning_rate=0.05)}
SCHEDULE = ScheduleConfig(num_steps=6, log_every=1, checkpoint_every=2, eval_every=0)


def _snapshot(model: nn.Module, step: int = 3) -> Snapshot:
    groups = {"model": {"optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}, "averages": {}, "num_updates": step}}
    return Snapshot.take(step, 9, model, groups, {"name": "toy"}, {"loss/total": (1.5, 2)})


def test_a_snapshot_is_of_its_moment(tmp_path: Path) -> None:
    model, store = nn.Linear(3, 2), CheckpointStore(tmp_path)
    before = model.weight.detach().clone()
    commit = BackgroundCommit(store, _snapshot(model))
    with torch.no_grad():
        model.weight.zero_()
    commit.set_metrics({"val/iou": 0.5})
    assert commit.finish().endswith("step-00000003.pt")
    entry = store.last()
    assert entry is not None
    assert entry.metrics == {"val/iou": 0.5}
    assert torch.equal(store.read(entry).model["weight"], before)


def test_without_scores_there_is_no_checkpoint(tmp_path: Path) -> None:
    """As if the run had been killed before its JSON: an evaluation failed."""
    store = CheckpointStore(tmp_path)
    BackgroundCommit(store, _snapshot(nn.Linear(3, 2))).abandon()
    assert store.last() is None


class _Gate:
    """Storage whose ``.pt`` files wait until the gate is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_open, self.is_reached = threading.Event(), threading.Event()
        write = storage.Storage.write

        def gated(store: storage.Storage, name: str, data: bytes) -> None:
            if name.endswith(".pt"):
                self.is_reached.set()
                assert self.is_open.wait(60), "nobody opened the gate"
            write(store, name, data)

        monkeypatch.setattr(storage.Storage, "write", gated)


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage lets the first checkpoint through only when the next step has begun."""
    gate = _Gate(monkeypatch)

    def on_progress(news: RunProgress) -> None:
        reports.append(news)
        if news.step == 3:
            assert gate.is_reached.wait(60)
            gate.is_open.set()

    store, reports = CheckpointStore(tmp_path, keep_last=9), list[RunProgress]()
    fit(ToyModel(), feed(), FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store), Hooks(on_progress=on_progress))
    assert [entry.step for entry in store.entries()] == [2, 4, 6]
    named = {news.step: Path(news.checkpoint).stem for news in reports if news.checkpoint}
    assert named == {4: "step-00000002", 6: "step-00000006"}


def test_a_state_is_written_while_its_step_is_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = _Gate(monkeypatch)

    def evaluate(model: Model, done: int) -> Mapping[str, float]:
        assert gate.is_reached.wait(60), "the evaluation came first"
        gate.is_open.set()
        return {"val/iou": 0.5}

    store = CheckpointStore(tmp_path)
    fit(ToyModel(), feed(), FitPlan(OPTIMIZERS, SCHEDULE, 1, checkpoints=store), Hooks(evaluate=evaluate))
    best = store.best()
    assert best is not None
    assert best.metrics["val/iou"] == 0.5


def _fail_at_step_4(monkeypatch: pytest.MonkeyPatch) -> None:
    write = storage.write_whole

    def full(path: Path, data: bytes) -> None:
        if path.name == "step-00000004.pt":
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, data)

    monkeypatch.setattr(storage, "write_whole", full)


def test_a_full_disk_is_told_when_the_next_one_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_at_step_4(monkeypatch)
    store, seen = CheckpointStore(tmp_path), list[int]()
    with pytest.raises(StorageError, match=r"no room left to write .*step-00000004"):
        fit(
            ToyModel(),
            feed(),
            FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store),
            Hooks(on_progress=lambda news: seen.append(news.step)),
        )
    assert seen == [1, 2, 3, 4, 5]
    last = store.last()
    assert last is not None
    assert last.step == 2
    store.read(last)


def test_an_error_of_training_leaves_the_last_checkpoint_committed(tmp_path: Path) -> None:
    def short(start: int, stop: int) -> Iterator[Batch]:
        yield from feed()(start, 4)
        raise KeyboardInterrupt

    store = CheckpointStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        fit(ToyModel(), short, FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store))
    assert [entry.step for entry in store.entries()] == [2, 4]


def test_a_checkpoint_may_be_due_by_the_clock(tmp_path: Path) -> None:
    """After any time, that is: at each log."""
    store = CheckpointStore(tmp_path, keep_last=9)
    rarely = ScheduleConfig(num_steps=6, log_every=2, checkpoint_every=100, checkpoint_every_s=1e-9, eval_every=0)
    fit(ToyModel(), feed(), FitPlan(OPTIMIZERS, rarely, checkpoints=store))
    assert [entry.step for entry in store.entries()] == [2, 4, 6]


def _resumed(folder: str) -> tuple[int | None, int, str]:
    store, reads = CheckpointStore(folder, keep_last=9), list[int]()
    read = store.read
    store.read = lambda entry: (reads.append(entry.step), read(entry))[1]  # type: ignore[method-assign]
    try:
        outcome = fit(ToyModel(), feed(), FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store))
    except Exception as error:
        return None, len(reads), str(error)
    return outcome.resumed_from, len(reads), ""


def test_one_rank_reads_for_all_and_damage_stops_all(tmp_path: Path) -> None:
    short = ScheduleConfig(num_steps=4, log_every=1, checkpoint_every=2, eval_every=0)
    fit(ToyModel(), feed(), FitPlan(OPTIMIZERS, short, checkpoints=CheckpointStore(tmp_path)))
    assert run_ranks(2, _resumed, str(tmp_path)) == [(4, 1, ""), (4, 0, "")]
    (tmp_path / "step-00000006.pt").write_bytes(b"garbage")
    for _, _, told in run_ranks(2, _resumed, str(tmp_path)):
        assert "step-00000006.pt is damaged" in told
        assert "last good checkpoint is" in told


@pytest.mark.gpu
def test_a_gpus_state_comes_back_to_the_bit(tmp_path: Path) -> None:
    store, model = CheckpointStore(tmp_path), ToyModel()
    plan = FitPlan(OPTIMIZERS, SCHEDULE, checkpoints=store, device="cuda")
    fit(model, feed(), plan)
    last = store.last()
    assert last is not None
    found = store.read(last).model
    assert all(torch.equal(found[name], value.cpu()) for name, value in model.state_dict().items())
