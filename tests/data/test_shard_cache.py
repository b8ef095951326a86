"""The cache of shards on a node's disk, and the readers of open files."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import shutil
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from raylift.config.data import DataConfig
from raylift.core.errors import DataError
from raylift.core.storage import LEFTOVER_S, Storage
from raylift.core.types import SampleRequest
from raylift.data.feed.stream import SampleStream
from raylift.data.shapes.record import load_object, load_view
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.readers import Readers
from raylift.data.store.shard_cache import ShardCache


def views_of(dataset: ShardedDataset) -> list[bytes]:
    return [load_view(dataset, entry.id, 1).rgba.tobytes() for entry in dataset.entries()]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_cached_data_set_reads_the_same_and_each_file_once(tiny: ShardedDataset, tmp_path: Path) -> None:
    cached = tiny.reader(0, ShardCache(tmp_path / "cache", 1 << 30))
    assert views_of(cached) == views_of(tiny)
    copies = names(tmp_path / "cache")
    assert len(copies) == 2 * len(tiny.manifest.shards)  # of views and pixels; no objects were read
    made = {name: (tmp_path / "cache" / name).stat().st_ino for name in copies}
    again = pickle.loads(pickle.dumps(cached))
    assert views_of(again) == views_of(tiny)
    assert {name: (tmp_path / "cache" / name).stat().st_ino for name in names(tmp_path / "cache")} == made
    stream = SampleStream(again, SampleRequest(16, 10), DataConfig(batch_size=3), 0)
    near = SampleStream(tiny, SampleRequest(16, 10), DataConfig(batch_size=3), 0)
    assert stream.sample(4)["points"].tobytes() == near.sample(4)["points"].tobytes()


def test_the_cache_stays_within_its_bound_and_drops_the_least_recently_used(
    tiny: ShardedDataset, tmp_path: Path
) -> None:
    files = [files[1] for files in tiny.manifest.shards]
    first, second, third = files[:3]
    cache = ShardCache(tmp_path, first.num_bytes + second.num_bytes + third.num_bytes - 1)
    for age, file in ((300, first), (200, second)):
        path = cache.fetch(tiny.storage, file)
        assert path is not None
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert cache.fetch(tiny.storage, first) is not None  # used now
    assert cache.fetch(tiny.storage, third) is not None
    assert {name.split("-", 1)[1] for name in names(tmp_path)} == {first.name, third.name}
    assert sum((tmp_path / name).stat().st_size for name in names(tmp_path)) <= cache.max_bytes
    # A file that cannot fit is read from the storage and drops nothing.
    assert ShardCache(tmp_path, first.num_bytes - 1).fetch(tiny.storage, first) is None
    assert len(names(tmp_path)) == 2


def test_what_is_being_written_is_kept_and_what_a_killed_process_left_is_not(
    tiny: ShardedDataset, tmp_path: Path
) -> None:
    file = tiny.manifest.shards[0][1]
    part = tmp_path / ".other.1.part"
    part.write_bytes(b"x" * 100)
    cache = ShardCache(tmp_path, file.num_bytes + 50)
    assert cache.fetch(tiny.storage, file) is None  # no room now
    assert part.exists()
    os.utime(part, (part.stat().st_mtime - LEFTOVER_S - 9,) * 2)
    assert cache.fetch(tiny.storage, file) is not None
    assert not part.exists()


@pytest.mark.parametrize("trouble", ["full", "full later", "a file", "not writable"])
def test_a_disk_that_cannot_be_used_is_survived_with_one_message(
    tiny: ShardedDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    folder = tmp_path / "cache"
    if trouble == "a file":
        folder.write_text("")
    elif trouble == "not writable":
        monkeypatch.setattr(Path, "mkdir", _raising(OSError(errno.EROFS, "Read-only file system")))
    else:
        at = "posix_fallocate" if trouble == "full" else "utime"
        full = OSError(errno.ENOSPC, "No space left on device")
        monkeypatch.setattr(os, at, _raising(full))
    cached = tiny.reader(0, ShardCache(folder, 1 << 30))
    with caplog.at_level(logging.WARNING):
        assert views_of(cached) == views_of(tiny)
    assert len(caplog.records) == 1
    assert "read from their storage" in caplog.text
    assert "scale.cache_folder" in caplog.text
    if folder.is_dir():
        assert names(folder) == []


def _raising(error: OSError) -> object:
    def refuse(*args: object, **settings: object) -> None:
        raise error

    return refuse


def test_a_shard_that_changed_under_way_is_refused_by_name(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(tiny_folder, folder)
    dataset = ShardedDataset.open(folder)
    name = dataset.manifest.shards[0][1].name
    (entry, *_) = (entry for entry in dataset.entries() if entry.shard == 0)
    whole = (folder / name).read_bytes()
    # Of the same size: only the checksum of a copy tells.
    (folder / name).write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])
    with pytest.raises(DataError, match=rf"{name} is not the one in the manifest"):
        load_view(dataset.reader(0, ShardCache(tmp_path / "cache", 1 << 30)), entry.id, 0)
    assert names(tmp_path / "cache") == []
    (folder / name).write_bytes(whole + b"more")
    with pytest.raises(DataError, match=rf"{name} is damaged: it has \d+ bytes instead of"):
        load_view(ShardedDataset.open(folder, check_sizes=False), entry.id, 0)
    with pytest.raises(DataError, match=rf"{name} is damaged: it has \d+ bytes instead of"):
        ShardedDataset.open(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name} is damaged: it is missing"):
        ShardedDataset.open(folder)


def test_sizes_are_checked_by_one_listing(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings = []
    sizes = Storage.sizes

    def counted(storage: Storage, names: list[str]) -> list[int | None]:
        listings.append(storage.uri)
        return sizes(storage, names)

    monkeypatch.setattr(Storage, "sizes", counted)
    ShardedDataset.open(tiny_folder, check_sizes=False)
    assert listings == []
    ShardedDataset.open(tiny_folder)
    assert listings == [str(tiny_folder)]


def test_readers_are_closed_again(tiny: ShardedDataset) -> None:
    opened: list[str] = []
    handles = []

    def open_file(name: str) -> pa.NativeFile:
        opened.append(name)
        handles.append(pafs.LocalFileSystem().open_input_file(f"{tiny.uri}/{name}"))
        return handles[-1]

    files = [file.name for shard in tiny.manifest.shards for file in shard]
    assert len(files) > 3
    readers = Readers(open_file, pre_buffer=False, most_open=2)
    for _ in range(2):
        for name in files:
            assert readers.read_group(name, 0, ["id"]).num_rows > 0
            assert sum(not handle.closed for handle in handles) <= 2
    assert opened == files * 2
    assert readers.read_group(files[-1], 0, ["id"]).num_rows > 0
    assert opened == files * 2


def test_readers_serve_many_threads(tiny: ShardedDataset) -> None:
    handles: list[pa.NativeFile] = []

    def open_file(name: str) -> pa.NativeFile:
        handles.append(pafs.LocalFileSystem().open_input_file(f"{tiny.uri}/{name}"))
        return handles[-1]

    readers = Readers(open_file, pre_buffer=False, most_open=1)
    expected = {file.name: readers.read_group(file.name, 0, ["id"]) for shard in tiny.manifest.shards for file in shard}
    wrong: list[str] = []

    def read(offset: int) -> None:
        order = sorted(expected)
        for index in range(60):
            name = order[(index * 7 + offset) % len(order)]
            if not readers.read_group(name, 0, ["id"]).equals(expected[name]):
                wrong.append(name)

    threads = [threading.Thread(target=read, args=(offset,)) for offset in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(not handle.closed for handle in handles) <= 1


def test_a_reader_opens_its_file_anew_after_an_error(tiny_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    shutil.copytree(tiny_folder, folder)
    dataset = ShardedDataset.open(folder)
    entry = dataset.entries()[0]
    path = folder / dataset.manifest.shards[entry.shard][0].name
    whole = path.read_bytes()
    path.write_bytes(b"\0" * len(whole))
    with pytest.raises(DataError, match=r"is damaged"):
        load_object(dataset, entry.id)
    path.write_bytes(whole)
    assert load_object(dataset, entry.id).id == entry.id
