"""Shards behind a network that fails: an outage is waited for, and only what differs from the manifest is damaged."""

from __future__ import annotations

import errno
import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from raylift.core import patience
from raylift.core.errors import DataError, StorageError, StorageUnavailableError
from raylift.core.storage import Storage
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import MANIFEST_NAME, Manifest, ShardFile
from tests.s3_server import Fault, FaultyProxy, s3_behind_a_proxy

NUM_SHARDS = 3


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyProxy]:
    with s3_behind_a_proxy() as proxy:
        yield proxy


def _data_set(folder: Storage, tmp_path: Path) -> ShardedDataset:
    """Three shards of one table, whose two row groups hold its number."""
    files = []
    for number in range(NUM_SHARDS):
        path = tmp_path / "shard.parquet"
        pq.write_table(pa.table({"x": [number] * 2000}), path, row_group_size=1000, compression="none")
        content = path.read_bytes()
        name = f"objects-{number:05d}.parquet"
        folder.write(name, content)
        files.append((ShardFile(name, len(content), hashlib.sha256(content).hexdigest()),))
    manifest = Manifest((), tuple(files), {}, "print", 0, ())
    folder.write(MANIFEST_NAME, manifest.to_json().encode())
    return ShardedDataset.open(folder.uri)


def _values(dataset: ShardedDataset, number: int) -> set[int]:
    return set(dataset.read_group(f"objects-{number:05d}.parquet", 1, ["x"])["x"].to_pylist())


@pytest.mark.server
def test_an_outage_is_waited_for_and_never_called_damage(
    server: FaultyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.01)
    dataset = _data_set(Storage.at(server.bucket) / "set", tmp_path)
    server.faults.extend([Fault(), Fault("reset"), Fault(status=429, code="TooManyRequests"), Fault("slow"), Fault()])
    assert _values(dataset, 0) == {0}
    assert not server.faults
    server.faults.append(Fault("cut"))
    assert _values(dataset, 1) == {1}
    server.faults.extend([Fault(), Fault("reset")])
    assert pickle.loads(pickle.dumps(dataset)).manifest == dataset.manifest
    monkeypatch.setenv(patience.VARIABLE, "0.01")
    for fault in (Fault(), Fault("reset")):
        server.always = fault
        with pytest.raises(StorageUnavailableError, match=r"objects-00002\.parquet cannot be read") as caught:
            _values(dataset, 2)
        assert "prepare" not in str(caught.value)
        assert "127.0.0.1" not in str(caught.value)
    server.always = Fault(status=403, code="AccessDenied")
    with pytest.raises(StorageError, match="ACCESS_DENIED"):
        _values(dataset, 2)
    server.always = None
    assert _values(dataset, 2) == {2}


def test_what_differs_from_the_manifest_is_damaged(tmp_path: Path) -> None:
    folder = Storage.at(tmp_path / "set")
    dataset = _data_set(folder, tmp_path)
    name = "objects-00001.parquet"
    good = folder.read(name)
    for harm, reason in ((b"x" * len(good), "its SHA-256 is not"), (good[:-9], "instead of"), (None, "it is missing")):
        folder.delete(name)
        if harm is not None:
            folder.write(name, harm)
        dataset = pickle.loads(pickle.dumps(dataset))
        with pytest.raises(DataError, match=rf"{name} is damaged: {reason}|{name} is damaged: .*{reason}") as caught:
            _values(dataset, 1)
        assert "prepare command" in caught.value.remedy
    folder.write(name, good)
    assert _values(dataset, 1) == {1}


def test_what_does_not_differ_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    dataset = _data_set(Storage.at(tmp_path / "set"), tmp_path)
    errors: list[Exception] = [pa.ArrowInvalid("bytes are missing")]

    def open_input_file(self: object, path: str) -> pa.NativeFile:
        if errors:
            raise errors.pop()
        return pa.memory_map(path)

    class Failing(pafs.LocalFileSystem):
        pass

    monkeypatch.setattr(Failing, "open_input_file", open_input_file, raising=False)
    monkeypatch.setattr(Storage, "filesystem", lambda self: (Failing(), self.uri))
    assert _values(dataset, 0) == {0}, "an answer that was cut is read again"
    errors.extend([pa.ArrowInvalid("too new")] * 2)
    with pytest.raises(StorageError, match="though its content is what the manifest says: too new"):
        _values(dataset, 1)
    errors.append(OSError(errno.EMFILE, "Too many open files"))
    with pytest.raises(StorageError, match="Too many open files") as caught:
        _values(dataset, 1)
    assert "ulimit" in caught.value.remedy
