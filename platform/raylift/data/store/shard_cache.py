"""Copies of remote shards on the node's disk, shared by its processes and bounded in size.

A copy is named by its checksum, so a changed shard is never mistaken for an old one, and data sets share what is equal.
It appears under its name only when it is complete and its checksum is right. The least recently used are deleted first.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from raylift.core.errors import DataError
from raylift.core.patience import storage_error
from raylift.core.storage import LEFTOVER_S, Storage
from raylift.core.storage_faults import Fault, fault_of
from raylift.data.store.manifest import ShardFile

logger = logging.getLogger(__name__)

_BLOCK = 8 << 20
_PART, _LOCK = ".part", ".lock"


def default_folder() -> Path:
    """The cache's folder on this node, if none is named: one per user, so that its files are the user's to delete."""
    return Path(tempfile.gettempdir()) / f"raylift-shards-{os.getuid()}"


class ShardCache:
    """A folder of copies. Pickles as its arguments; each node has its own.

    Args:
        folder: local folder, made on first use.
        max_bytes: size of all copies together, finished and unfinished.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._refused = False
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return ShardCache, (self.folder, self.max_bytes)

    def open(self, storage: Storage, file: ShardFile) -> pa.NativeFile | None:
        """The copy of a file, made if it is missing; None if the disk cannot hold it, which is logged once.

        Raises:
            DataError: what the storage has is not the file of the manifest.
        """
        for _ in range(3):  # another process may delete a copy between the check and the opening
            path = self.fetch(storage, file)
            if path is None:
                return None
            with suppress(FileNotFoundError):
                return pafs.LocalFileSystem().open_input_file(str(path))
        return None

    def fetch(self, storage: Storage, file: ShardFile) -> Path | None:
        """Path of the copy of a file, made if it is missing; otherwise as ``open``."""
        if self._refused or file.num_bytes > self.max_bytes:
            return None
        path = self.folder / f"{file.sha256[:32]}-{file.name}"
        try:
            with suppress(FileNotFoundError):
                os.utime(path)  # its last use
                return path
            self.folder.mkdir(parents=True, exist_ok=True)
            # One process of the node downloads; others that want the file wait for it.
            with _locked(self.folder / f"{file.sha256[:2]}{_LOCK}"):
                return path if path.exists() or self._download(storage, file, path) else None
        except OSError as error:
            self._refuse(error)
            return None

    def _download(self, storage: Storage, file: ShardFile, path: Path) -> bool:
        """Make a copy; False if other processes' unfinished ones leave no room for it."""
        part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
        digest = hashlib.sha256()
        try:
            with _locked(self.folder / _LOCK):
                if not self._make_room(file.num_bytes):
                    return False
                with part.open("wb") as target:
                    os.posix_fallocate(target.fileno(), 0, file.num_bytes)  # counts as used from here on
            with part.open("r+b") as target:
                for block in _blocks(storage, file.name):
                    digest.update(block)
                    target.write(block)
            if digest.hexdigest() != file.sha256:
                raise DataError(
                    f"shard {storage.uri}/{file.name} is not the one in the manifest: it has changed, or is damaged",
                    "prepare into another folder while a run reads this one; then rerun the same command to resume",
                )
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return True

    def _make_room(self, num_bytes: int) -> bool:
        """Delete old copies, and what killed processes left, until so many bytes fit; False if they cannot."""
        copies = sorted(self._copies())
        total = sum(size for _, size, _ in copies) + num_bytes
        for used, size, path in copies:
            is_part = path.name.endswith(_PART)
            if total <= self.max_bytes and not is_part:
                break
            if not is_part or time.time() - used > LEFTOVER_S:
                path.unlink(missing_ok=True)  # its readers keep what they have open
                total -= size
        return total <= self.max_bytes

    def _copies(self) -> list[tuple[float, int, Path]]:
        """Last use, size and path of each copy, finished or not."""
        found = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):
                if not path.name.endswith(_LOCK):
                    state = path.stat()
                    found.append((state.st_mtime, state.st_size, path))
        return found

    def _refuse(self, error: OSError) -> None:
        with self._lock:
            if not self._refused:
                self._refused = True
                logger.warning(
                    "shards are not cached in %s: %s; they are read from their storage, which is slower"
                    " (free some space, or set scale.cache_folder or scale.cache_gib)",
                    self.folder,
                    error,
                )


def _blocks(storage: Storage, name: str) -> Iterator[bytes]:
    """The content of a file, piece by piece; a failure of the storage is no failure of the cache's disk."""
    filesystem, root = storage.filesystem()
    try:
        with filesystem.open_input_stream(f"{root}/{name}") as stream:
            while block := stream.read(_BLOCK):
                yield block
    except OSError as error:
        fault = fault_of(error) or Fault("other", str(error))
        raise storage_error(fault, f"shard {storage.uri}/{name}", "read") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
