"""Checkpoints: whole or absent, verified, kept and deleted by rule, on a disk and on s3://."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from raylift.core import storage
from raylift.core.errors import CheckpointError, StorageError
from raylift.core.storage import Storage
from raylift.training.checkpoint import CheckpointStore, check_recipe, open_checkpoint

RECIPE = {"name": "toy", "schedule": {"num_steps": 9, "log_every": 1}, "seed": 0}


def _write(store: CheckpointStore, step: int, score: float | None = None) -> nn.Module:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(step)
    averages = {"weight": torch.full((2, 3), 0.5)}
    groups = {"model": {"optimizer": {"state": {}, "param_groups": []}, "averages": averages, "num_updates": step}}
    metrics = {} if score is None else {"val/iou": score}
    store.write(step, 9, model, groups, RECIPE, metrics, {"loss/total": (1.5, 2)}, data="d1")
    return model


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "new" / "folder with blanks")
    model = _write(store, 4, 0.3)
    entry = store.last()
    assert entry is not None
    assert (entry.step, entry.num_steps, entry.metrics, entry.recipe) == (4, 9, {"val/iou": 0.3}, RECIPE)
    checkpoint = store.read(entry)
    assert torch.equal(checkpoint.model["weight"], model.weight)
    assert checkpoint.accumulator == {"loss/total": (1.5, 2)}
    opened = open_checkpoint(store.path(entry))
    other = nn.Linear(3, 2)
    opened.load_weights(other)
    assert torch.equal(other.weight, torch.full((2, 3), 0.5)), "evaluation takes the averaged weights"
    assert torch.equal(other.bias, model.bias)
    with pytest.raises(CheckpointError, match="do not fit"):
        opened.load_weights(nn.Linear(4, 2))


def test_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2)
    for step, score in ((1, 0.2), (2, 0.9), (3, None), (4, 0.9), (5, 0.1), (6, None)):
        _write(store, step, score)
    assert [entry.step for entry in store.entries()] == [2, 5, 6]
    best = store.best()
    assert best is not None
    assert best.step == 2, "the first of equals"
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json"] * 3 + [".pt"] * 3
    smallest = CheckpointStore(tmp_path, best_is="min").best()
    assert smallest is not None
    assert smallest.step == 5


@pytest.mark.parametrize("harm", ["truncate", "flip", "remove", "empty"])
def test_a_damaged_one_is_refused_with_the_name_of_the_last_good_one(tmp_path: Path, harm: str) -> None:
    store = CheckpointStore(tmp_path, keep_last=3)
    for step in (1, 2, 3):
        _write(store, step)
    for step in (2, 3):
        path = tmp_path / f"step-0000000{step}.pt"
        data = path.read_bytes()
        if harm == "truncate":
            path.write_bytes(data[: len(data) // 2])
        elif harm == "flip":
            path.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
        elif harm == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
    last = store.last()
    assert last is not None
    with pytest.raises(CheckpointError) as caught:
        store.read(last)
    assert "step-00000003.pt" in caught.value.problem
    assert f"last good checkpoint is {tmp_path}/step-00000001.pt" in caught.value.remedy


def test_the_only_one_damaged_says_so(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    _write(store, 1)
    (tmp_path / "step-00000001.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="no other good checkpoint"):
        open_checkpoint(tmp_path / "step-00000001.pt")


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "evil"),)

    store = CheckpointStore(tmp_path)
    _write(store, 1)
    torch.save({"model": Evil()}, tmp_path / "step-00000001.pt", pickle_module=pickle)
    import hashlib

    data = (tmp_path / "step-00000001.pt").read_bytes()
    sidecar = json.loads((tmp_path / "step-00000001.json").read_text())
    sidecar |= {"sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)}
    (tmp_path / "step-00000001.json").write_text(json.dumps(sidecar))
    with pytest.raises(CheckpointError, match="does not load"):
        open_checkpoint(tmp_path / "step-00000001.pt")
    assert not (tmp_path / "evil").exists()


def test_a_kill_between_the_two_files_leaves_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    _write(store, 1)
    monkeypatch.setattr(storage.os, "replace", _failing_for(".json"))
    with pytest.raises(StorageError, match=r"step-00000002\.json .*cannot be written"):
        _write(store, 2)
    last = store.last()
    assert last is not None
    assert last.step == 1
    store.read(last)


def test_a_full_disk_leaves_the_older_ones_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    _write(store, 1)
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(StorageError, match=r"no room left to write .*step-00000002\.pt"):
        _write(store, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    old, new = tmp_path / ".step-00000001.pt.abc.part", tmp_path / ".step-00000001.pt.new.part"
    for leftover in (old, new):
        leftover.write_bytes(b"half")
    os.utime(old, (0, 0))
    _write(CheckpointStore(tmp_path), 1)
    assert not old.exists()
    assert new.exists(), "it may have a writer"


def test_a_checkpoint_of_another_recipe_names_what_differs(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    _write(store, 1)
    entry = store.last()
    assert entry is not None
    other = {"name": "toy", "schedule": {"num_steps": 10, "log_every": 5}, "seed": 0, "extra": 1}
    with pytest.raises(CheckpointError) as caught:
        check_recipe(entry, other, ("schedule.log_every",), "here", "d1")
    assert "schedule.num_steps: 9 there, 10 now" in caught.value.problem
    assert "extra: None there, 1 now" in caught.value.problem
    assert "log_every" not in caught.value.problem
    check_recipe(entry, other, ("schedule", "extra"), "here", "d1")
    with pytest.raises(CheckpointError, match="another data set"):
        check_recipe(entry, RECIPE, (), "here", "d2")


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"step": 1}'])
def test_a_damaged_description_is_refused(tmp_path: Path, text: bytes) -> None:
    store = CheckpointStore(tmp_path)
    _write(store, 1)
    (tmp_path / "step-00000001.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"step-00000001\.json is damaged"):
        store.last()


def test_files_that_are_no_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not named like a checkpoint"):
        open_checkpoint(tmp_path / "model.bin")
    (tmp_path / "step-00000001.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"step-00000001\.json is missing next to"):
        open_checkpoint(tmp_path / "step-00000001.pt")
    with pytest.raises(StorageError, match="ftp://x/y cannot be reached"):
        Storage.at("ftp://x/y")


def _failing_for(ending: str) -> object:
    real = os.replace

    def replace(source: str, target: str) -> None:
        if str(target).endswith(ending):
            raise OSError(errno.EIO, "killed")
        real(source, target)

    return replace
