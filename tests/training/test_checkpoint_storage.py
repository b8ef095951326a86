"""Checkpoints behind a network that fails, and two writers of one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from raylift.core import patience
from raylift.core.errors import CheckpointError, StorageError, StorageUnavailableError
from raylift.core.storage import Storage
from raylift.training.checkpoint import CheckpointStore, find_checkpoints
from tests.s3_server import Fault, FaultyProxy, s3_behind_a_proxy


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyProxy]:
    with s3_behind_a_proxy() as proxy:
        yield proxy


def _commit(store: CheckpointStore, step: int, value: float = 0.0) -> None:
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.fill_(value)
        model.bias.fill_(step)
    groups = {"model": {"optimizer": {"state": {}, "param_groups": []}, "averages": {}, "num_updates": step}}
    store.write(step, 9, model, groups, {"name": "toy"})


@pytest.mark.server
def test_a_commit_and_a_resume_survive_an_outage(server: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    run = f"{server.bucket}/run"
    store = CheckpointStore(f"{run}/checkpoints")
    faults = [Fault(), Fault("reset"), Fault("lose"), Fault(status=500, code="InternalError")]
    # Each request of a commit: whether it is there, .pt, .json, and the listing and reading that prune.
    for position in range(5):
        server.faults.extend([Fault("slow")] * position + [faults[position % 4]])
        _commit(store, position)
        assert not server.faults
    server.faults.extend([Fault(), Fault("reset"), Fault("cut")])
    last = store.last()
    assert last is not None
    assert last.step == 4
    server.faults.extend([Fault("cut"), Fault()])
    assert torch.equal(store.read(last).model["bias"], torch.full((2,), 4.0))
    assert find_checkpoints(run) == f"{run}/checkpoints"


@pytest.mark.server
def test_an_outage_is_no_damage(server: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(f"{server.bucket}/away/checkpoints")
    _commit(store, 1)
    entry = store.last()
    assert entry is not None
    monkeypatch.setenv(patience.VARIABLE, "0.01")
    server.always = Fault()
    try:
        for attempt in (lambda: store.read(entry), store.last, lambda: _commit(store, 2)):
            with pytest.raises(StorageUnavailableError) as caught:
                attempt()
            assert "delete" not in caught.value.remedy
        server.always = Fault(status=403, code="AccessDenied")
        with pytest.raises(StorageError, match="AccessDenied"):
            store.read(entry)
    finally:
        server.always = None
    assert store.last() == entry


@pytest.mark.server
def test_a_committed_step_is_never_replaced(server: FaultyProxy, tmp_path: Path) -> None:
    for place in (f"{server.bucket}/twice", str(tmp_path)):
        store = CheckpointStore(place)
        _commit(store, 1, 0.25)
        _commit(store, 1, 0.25)  # a worker that was thought dead, on the same kind of machine
        with pytest.raises(CheckpointError, match="step 1 in .* was committed by another process"):
            _commit(store, 1, 0.5)
        entry = store.last()
        assert entry is not None
        assert float(store.read(entry).model["weight"][0, 0]) == 0.25


@pytest.mark.server
def test_of_two_writers_between_the_two_files_one_commits(server: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(f"{server.bucket}/between")
    commit = Storage.commit

    def after_the_other(self: Storage, name: str, data: bytes) -> bool:
        commit(self, name, data.replace(b'"num_bytes"', b'"num_bytes" '))
        monkeypatch.undo()
        return commit(self, name, data)

    monkeypatch.setattr(Storage, "commit", after_the_other)
    _commit(store, 1)  # the same digest: it counts as ours
    assert store.last() is not None
