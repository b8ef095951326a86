"""Two drivers of one run: one drives, a dead one is replaced, a replaced one stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raylift.core import lease as module
from raylift.core.errors import ConfigError
from raylift.core.lease import Lease
from raylift.core.storage import Storage
from tests.s3_server import FaultyProxy

LONG = 3600.0


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.server)])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "local":
        return Storage.at(tmp_path / "run")
    proxy: FaultyProxy = request.getfixturevalue("s3")
    return Storage.at(proxy.bucket) / tmp_path.name


def test_a_run_is_driven_once_and_then_again(folder: Storage) -> None:
    for number in (1, 2, 3):
        with Lease(folder, "run 'x'"):
            assert folder.names() == [f"lease-{number:06d}.json"]
        assert json.loads(folder.read(f"lease-{number:06d}.json"))["released"]


def test_a_live_driver_is_not_replaced(folder: Storage) -> None:
    with (
        Lease(folder, "run 'x'", lease_s=3.0),
        pytest.raises(ConfigError, match=rf"run 'x' in .* is driven by process {os.getpid()} on"),
        Lease(folder, "run 'x'", lease_s=3.0),
    ):
        pass
    assert folder.names() == ["lease-000001.json"]
    assert json.loads(folder.read("lease-000001.json"))["released"]


def test_of_many_drivers_at_once_one_starts(folder: Storage) -> None:
    driving, refused = [], []
    done = threading.Event()

    def drive() -> None:
        try:
            with Lease(folder, "run 'x'", lease_s=6.0):
                driving.append(1)
                done.wait(60.0)
        except ConfigError:
            refused.append(1)
            if len(refused) == 3:
                done.set()

    drivers = [threading.Thread(target=drive) for _ in range(4)]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    assert (len(driving), len(refused)) == (1, 3)


def test_a_silent_driver_of_another_machine_is_replaced_and_stops(
    folder: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was paused, say: nobody renews its lease."""
    monkeypatch.setattr(Lease, "_keep", lambda self: None)
    silent = Lease(folder, "run 'x'", lease_s=-1.0)
    silent.__enter__()
    monkeypatch.undo()
    with Lease(folder, "run 'x'", lease_s=LONG):
        assert folder.names() == ["lease-000002.json"]
        told: list[ConfigError] = []
        silent.on_lost = told.append
        silent._lease_s = 0.01
        silent._keep()  # it wakes up
        assert told == [silent.lost]
        with pytest.raises(ConfigError, match="was taken over by another driver"):
            silent.check()
        silent.__exit__()
        assert not json.loads(folder.read("lease-000002.json"))["released"], "the loser touches nothing"


def test_a_dead_process_of_this_machine_is_replaced_at_once(folder: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held = {"machine": module._machine(), "host": "here", "pid": ended.pid, "started": 1.0, "lease_s": LONG}
    folder.create("lease-000007.json", json.dumps(held).encode())
    with Lease(folder, "run 'x'", lease_s=LONG):
        assert folder.names() == ["lease-000008.json"]
    # The number was given to another process since.
    held["pid"] = os.getpid()
    assert module._is_dead(held)
    monkeypatch.setattr(module, "_machine", lambda: "another container")
    assert not module._is_dead(held)


def test_a_lease_that_is_being_written_is_respected(folder: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.create("lease-000001.json", b"")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        folder.write("lease-000001.json", json.dumps({"pid": 1, "host": "there", "num_renewals": 1}).encode())

    monkeypatch.setattr(module.time, "sleep", wait)
    with pytest.raises(ConfigError, match="process 1 on there"), Lease(folder, "run 'x'", lease_s=LONG):
        pass
    assert len(waits) == 1
