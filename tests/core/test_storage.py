"""Storage behind a network that fails: what may pass is waited for, what lasts is an error with a remedy."""

from __future__ import annotations

import errno
import hashlib
import logging
import threading
from pathlib import Path

import pytest

from raylift.core import object_store, patience
from raylift.core.errors import ConfigError, MissingFileError, StorageError, StorageUnavailableError
from raylift.core.patience import patience_s, patiently, pause_s
from raylift.core.storage import Storage
from tests.s3_server import Fault, FaultyProxy

PASSING = (
    Fault(),
    Fault(status=500, code="InternalError"),
    Fault(status=429, code="TooManyRequests"),
    Fault(status=503, code="ServiceUnavailable"),
    Fault(status=400, code="RequestTimeout"),
    Fault("reset"),
    Fault("lose"),
)
LASTING = (
    (Fault(status=403, code="AccessDenied"), "AccessDenied", "s3:ListBucket"),
    (Fault(status=404, code="NoSuchBucket"), "NoSuchBucket", "create the bucket"),
    (Fault(status=403, code="RequestTimeTooSkewed"), "RequestTimeTooSkewed", "clock"),
    (Fault(status=400, code="ExpiredToken"), "ExpiredToken", "renew the credentials"),
    (Fault(status=403, code="InvalidAccessKeyId"), "InvalidAccessKeyId", "AWS_PROFILE"),
    (Fault(status=507, code="XMinioStorageFull"), "", "free some space"),
)


@pytest.mark.server
def test_what_may_pass_is_waited_for(s3: FaultyProxy, caplog: pytest.LogCaptureFixture) -> None:
    folder = Storage.at(s3.bucket) / "passing"
    with caplog.at_level(logging.WARNING):
        for number, fault in enumerate(PASSING):
            s3.faults.extend([fault] * 2)
            folder.write(f"{number}.bin", bytes([number]) * 1000)
            s3.faults.extend([fault, Fault("cut")])
            assert folder.read(f"{number}.bin") == bytes([number]) * 1000
            s3.faults.append(fault)
            assert folder.checksum(f"{number}.bin") == hashlib.sha256(bytes([number]) * 1000).hexdigest()
            s3.faults.append(fault)
            assert folder.names() == [f"{one}.bin" for one in range(number + 1)]
            s3.faults.append(fault)
            assert folder.size(f"{number}.bin") == 1000
    assert not s3.faults
    assert "passing/0.bin (0.0 MB) is not written yet (SlowDown, said the proxy)" in caplog.text
    assert "is written after" in caplog.text
    assert s3.endpoint not in caplog.text


@pytest.mark.server
def test_an_object_appears_whole_although_its_upload_was_cut(
    s3: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "MULTIPART_BYTES", 5 << 20)
    folder = Storage.at(s3.bucket) / "large"
    content = bytes(range(256)) * (48 << 10)
    (tmp_path / "part").write_bytes(content)
    s3.faults.extend([Fault("slow", seconds=0.2), Fault("reset"), Fault(), Fault("reset")])
    assert folder.upload(tmp_path / "part", "a.bin") == hashlib.sha256(content).hexdigest()
    assert folder.read("a.bin") == content
    s3.faults.extend([Fault(), Fault("reset")])
    folder.write("b.bin", content)
    assert folder.checksum("b.bin") == hashlib.sha256(content).hexdigest()
    assert folder.names() == ["a.bin", "b.bin"]
    folder.abort_stale_uploads(0.0)
    assert _num_uploads(folder) == 0


@pytest.mark.server
def test_uploads_of_dead_writers_are_removed_once_they_are_old(s3: FaultyProxy) -> None:
    folder = Storage.at(s3.bucket) / "uploads"
    bucket, prefix = object_store.split(folder.uri)
    object_store.client().create_multipart_upload(Bucket=bucket, Key=f"{prefix}/dead.bin")
    # This server says of each upload that it started in 2010.
    assert folder.abort_stale_uploads(1e10) == 0, "its writer may live"
    assert _num_uploads(folder) == 1
    assert folder.abort_stale_uploads(0.0) == 1
    assert _num_uploads(folder) == 0


def _num_uploads(folder: Storage) -> int:
    bucket, prefix = object_store.split(folder.uri)
    return len(object_store.client().list_multipart_uploads(Bucket=bucket, Prefix=f"{prefix}/").get("Uploads", []))


@pytest.mark.server
@pytest.mark.parametrize(("fault", "reason", "remedy"), LASTING)
def test_what_lasts_is_an_error_at_once(s3: FaultyProxy, fault: Fault, reason: str, remedy: str) -> None:
    folder = Storage.at(s3.bucket) / "lasting"
    for attempt in (lambda: folder.read("a"), lambda: folder.write("a", b"1"), folder.names):
        s3.always, before = fault, s3.num_requests
        with pytest.raises(StorageError) as caught:
            attempt()
        assert not isinstance(caught.value, StorageUnavailableError)
        assert s3.num_requests == before + 1
        assert f"{folder.uri}" in caught.value.problem
        assert reason in caught.value.problem or "no room left" in caught.value.problem
        assert remedy in caught.value.remedy


@pytest.mark.server
def test_patience_ends(s3: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patience.VARIABLE, "0.05")
    folder = Storage.at(s3.bucket) / "away"
    for fault in (Fault(), Fault("reset")):
        s3.always = fault
        with pytest.raises(StorageUnavailableError, match=r"/away/a cannot be read: ") as caught:
            folder.read("a")
        assert "127.0.0.1" not in str(caught.value), "endpoints are not for logs"
        assert caught.value.__cause__ is None
        assert "rerun the same command" in caught.value.remedy
    monkeypatch.setenv(patience.VARIABLE, "soon")
    with pytest.raises(ConfigError, match="RAYLIFT_STORAGE_PATIENCE_S is 'soon'"):
        patience_s()


@pytest.mark.server
def test_a_missing_file_is_not_a_missing_bucket(s3: FaultyProxy) -> None:
    with pytest.raises(MissingFileError):
        (Storage.at(s3.bucket) / "missing").read("a")
    assert (Storage.at(s3.bucket) / "missing").names() == []
    assert Storage.at(s3.bucket).size("missing") is None
    (Storage.at(s3.bucket) / "missing").delete("a")
    with pytest.raises(StorageError, match="NoSuchBucket"):
        Storage.at("s3://raylift-none/x").names()


@pytest.mark.server
def test_of_several_writers_at_once_one_creates_a_file(s3: FaultyProxy, tmp_path: Path) -> None:
    for folder in (Storage.at(s3.bucket) / "created", Storage.at(tmp_path / "new")):
        won: list[int] = []

        def write(number: int, folder: Storage = folder, won: list[int] = won) -> None:
            if folder.create("one", str(number).encode()):
                won.append(number)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(won) == 1
        assert folder.read("one") == str(won[0]).encode()
    s3.faults.append(Fault("lose"))
    assert (Storage.at(s3.bucket) / "created").create("two", b"ours"), "the answer was lost, and the file is ours"


@pytest.mark.server
def test_sizes_of_many_files_cost_one_request(s3: FaultyProxy) -> None:
    folder = Storage.at(s3.bucket) / "sizes"
    for number in range(4):
        folder.write(f"{number}", b"x" * number)
    before = s3.num_requests
    assert folder.sizes(["3", "1", "9"]) == [3, 1, None]
    assert s3.num_requests == before + 1


def test_a_network_file_system_is_waited_for_and_a_full_disk_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    faults = [OSError(errno.ESTALE, "Stale file handle"), OSError(errno.ETIMEDOUT, "timed out")]

    def read() -> str:
        if faults:
            raise faults.pop()
        return "read"

    assert patiently(read, "/net/x", "read") == "read"
    for number, remedy in ((errno.EMFILE, "ulimit"), (errno.EACCES, "permissions"), (errno.EIO, "check")):
        faults.append(OSError(number, "broken"))
        with pytest.raises(StorageError, match="/net/x cannot be read") as caught:
            patiently(read, "/net/x", "read")
        assert remedy in caught.value.remedy
        assert not faults


def test_pauses_grow_and_are_bounded_and_drawn() -> None:
    pauses = [pause_s("x", attempt) for attempt in range(12)]
    assert pauses == [pause_s("x", attempt) for attempt in range(12)]
    assert all(0.25 * 2**attempt <= pause <= 0.5 * 2**attempt for attempt, pause in enumerate(pauses[:5]))
    assert all(7.5 <= pause <= 15.0 for pause in pauses[5:])
    assert pause_s("x", 400) <= 15.0
    assert pause_s("x", 1) != pause_s("y", 1)
