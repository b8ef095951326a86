"""A prepared data set: random access to objects and views, with a cache of bounded size."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, cast

import pyarrow as pa
import pyarrow.parquet as pq

from raylift.core.errors import DataError, StorageError
from raylift.core.patience import patiently
from raylift.core.storage import Storage
from raylift.core.storage_faults import fault_of
from raylift.data.store.manifest import Manifest, ObjectEntry

MOST_OPEN_FILES = 64
"""Shards of a large set are more than a process may open."""
_REMEDY_SHARD = "run the same prepare command again: it keeps the good shards and rebuilds this one"


class Sized(Protocol):
    """A value that a cache of bounded size can hold."""

    @property
    def num_bytes(self) -> int: ...


Cached = str | bytes | list[dict[str, object]] | Sized
_T = TypeVar("_T", bound=Sized)


class ShardedDataset:
    """Prepared shards with their manifest. Pickles as its address, so it can be sent to workers.

    Args:
        storage: location of the data set.
        manifest: its manifest.
        cache_bytes: cache size for images and packed arrays; the least recently used are evicted first.
    """

    def __init__(self, storage: Storage, manifest: Manifest, cache_bytes: int = 2 << 30) -> None:
        self.storage = storage
        self.manifest = manifest
        self.cache_bytes = cache_bytes
        self._by_id = {entry.id: entry for entry in manifest.entries}
        self._cache: OrderedDict[tuple[str, str], Cached] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()

    @staticmethod
    def open(uri: str | Path, cache_bytes: int = 2 << 30) -> ShardedDataset:
        """Open a data set and check that its shards exist in full length.

        Raises:
            DataError: no manifest, or a shard is missing or truncated (it is named).
        """
        storage = Storage.at(uri)
        manifest = Manifest.read(storage)
        files = [file for shard in manifest.shards for file in shard]
        for file, size in zip(files, storage.sizes([file.name for file in files]), strict=True):
            if size != file.num_bytes:
                state = "is missing" if size is None else f"has {size} bytes instead of {file.num_bytes}"
                raise DataError(f"shard {storage.uri}/{file.name} {state}", _REMEDY_SHARD)
        return ShardedDataset(storage, manifest, cache_bytes)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self.storage, self.cache_bytes)

    @property
    def uri(self) -> str:
        return self.storage.uri

    def verify(self) -> list[str]:
        """Names of the files whose checksum differs from the manifest (reads everything)."""
        files = [file for shard in self.manifest.shards for file in shard]
        return [file.name for file in files if self.storage.checksum(file.name) != file.sha256]

    def entries(self, split: str | None = None, categories: Sequence[str] = ()) -> list[ObjectEntry]:
        """Objects of a split (None: of all) and of these categories (empty: all), ordered by id."""
        return [
            entry
            for entry in self.manifest.entries
            if (split is None or entry.split == split) and (not categories or entry.category in categories)
        ]

    def entry(self, object_id: str) -> ObjectEntry:
        try:
            return self._by_id[object_id]
        except KeyError:
            remedy = f"see raylift inspect {self.uri}"
            raise DataError(f"{self.uri} has no object {object_id!r}", remedy) from None

    def cached(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """The cached value of ``key``, or the result of ``make``, which is then cached.

        Args:
            key: object id, and everything else that the value depends on.
            make: a pure function of the key.
        """
        cached = self.lookup(key)
        if cached is None:
            cached = make()
            self.keep(key, cached)
        return cast(_T, cached)

    def read_group(self, name: str, group: int, columns: list[str] | None) -> pa.Table:
        """One row group of a file, with these columns (None: all).

        Raises:
            DataError: the file is damaged: its content is not what the manifest says (it is named).
            StorageError: the file cannot be read, for another reason.
        """
        num_suspicious = 0

        def read() -> pa.Table:
            nonlocal num_suspicious
            try:
                with self._lock:  # a parquet reader serves one thread at a time
                    return self._reader(name).read_row_group(group, columns=columns, use_threads=False)
            except (pa.ArrowException, OSError) as error:
                with self._lock:
                    self._files.pop(name, None)
                fault = fault_of(error)
                if fault is not None and fault.kind not in ("other", "missing"):
                    raise
                # Only the manifest can tell damage from an answer that was cut on its way.
                if damage := self._damage(name):
                    raise DataError(f"shard {self.uri}/{name} is damaged: {damage}", _REMEDY_SHARD) from error
                num_suspicious += 1
                if num_suspicious > 1:
                    problem = f"shard {self.uri}/{name} cannot be read, though its content is what the manifest says"
                    raise StorageError(f"{problem}: {error}", "rerun the same command to resume") from error
                raise OSError(errno.EAGAIN, "its content was right when it was read again") from error

        return patiently(read, f"shard {self.uri}/{name}", "read")

    def _reader(self, name: str) -> pq.ParquetFile:
        """An open shard; those that were not used for the longest time are closed."""
        if name not in self._files:
            filesystem, root = self.storage.filesystem()
            self._files[name] = pq.ParquetFile(filesystem.open_input_file(f"{root}/{name}"))
            while len(self._files) > MOST_OPEN_FILES:
                self._files.popitem(last=False)[1].close(force=True)
        self._files.move_to_end(name)
        return self._files[name]

    def _damage(self, name: str) -> str:
        """How a file differs from the manifest; "" if it does not."""
        known = next(file for shard in self.manifest.shards for file in shard if file.name == name)
        size = self.storage.size(name)
        if size is None:
            return "it is missing"
        if size != known.num_bytes:
            return f"it has {size} bytes instead of {known.num_bytes}"
        return "" if self.storage.checksum(name) == known.sha256 else "its SHA-256 is not the one in the manifest"

    def lookup(self, key: tuple[str, str]) -> Cached | None:
        """The cached value of a key; None if not cached."""
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def keep(self, key: tuple[str, str], value: Cached) -> None:
        """Cache a value under its object id and description, if it fits."""
        size = _size_of(value)
        if size > self.cache_bytes:
            return
        with self._lock:
            if key in self._cache:
                return
            self._cache[key] = value
            self._cached_bytes += size
            while self._cached_bytes > self.cache_bytes:
                _, dropped = self._cache.popitem(last=False)
                self._cached_bytes -= _size_of(dropped)


def _reopened(storage: Storage, cache_bytes: int) -> ShardedDataset:
    # Only the address is pickled: the manifest of a large set is large, and its shards were already checked.
    return ShardedDataset(storage, Manifest.read(storage), cache_bytes)


def _size_of(value: Cached) -> int:
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, list):
        return sum(len(cell) for row in value for cell in row.values() if isinstance(cell, bytes))
    return value.num_bytes
