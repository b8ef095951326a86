"""A folder, local or in an object store, whose files are written atomically.

What may pass by waiting (a network, a busy store) is waited for, with the bound of ``core.patience``; what lasts is an
error at once, which names the place and the remedy.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from raylift.core import object_store
from raylift.core.errors import MissingFileError, StorageError
from raylift.core.patience import patiently, storage_error
from raylift.core.storage_faults import fault_of

T = TypeVar("T")

_BLOCK = 1 << 22
LEFTOVER_S = 600.0
"""A partial file that was not modified for this long has no live writer."""
STALE_UPLOAD_S = 24 * 3600.0
"""A multipart upload that started this long ago has no live writer."""


@dataclass(frozen=True)
class Storage:
    """A folder: a local path, ``file://`` or ``s3://bucket/prefix`` (with the standard AWS variables).

    Attributes:
        uri: absolute, so that it means the same on every worker.
    """

    uri: str

    @staticmethod
    def at(place: str | Path) -> Storage:
        """The folder of a path or URI.

        Raises:
            StorageError: no file system supports it, or the address holds credentials or an endpoint.
        """
        text = str(place)
        object_store.check_address(text)
        storage = Storage(text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve()))
        if not storage.is_object_store:
            storage.filesystem()
        return storage

    def __truediv__(self, name: str) -> Storage:
        return Storage(f"{self.uri}/{name}")

    @property
    def is_local(self) -> bool:
        return not self.is_object_store and isinstance(self.filesystem()[0], pafs.LocalFileSystem)

    @property
    def is_object_store(self) -> bool:
        return self.uri.startswith(object_store.SCHEME)

    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """pyarrow's file system, and this folder's path in it.

        Raises:
            StorageError: the scheme is unknown, or the endpoint is wrong.
        """
        if self.is_object_store:
            bucket, prefix = object_store.split(self.uri)
            filesystem = patiently(lambda: object_store.arrow_filesystem(bucket), self.uri, "reached")
            return filesystem, f"{bucket}/{prefix}".rstrip("/")
        try:
            return _filesystem(self.uri)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StorageError(
                f"{self.uri} cannot be reached: {error}", "use a local folder or s3://bucket/prefix, with credentials"
            ) from None

    def names(self, suffix: str = "") -> list[str]:
        """Names of the files directly in the folder with this suffix, sorted; empty if the folder is missing."""
        return sorted(name for name in self._listing() if name.endswith(suffix))

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if it is missing."""
        if self.is_object_store:
            bucket, key = self._object(name)
            found = self._try("listed", lambda: object_store.info(bucket, key), name)
            return None if found is None else found.size
        filesystem, root = self.filesystem()
        (info,) = self._try("listed", lambda: filesystem.get_file_info([f"{root}/{name}"]), name)
        return int(info.size) if info.type == pafs.FileType.File else None

    def sizes(self, names: list[str]) -> list[int | None]:
        """Size of each file in bytes, None if missing; by one listing."""
        sizes = self._listing()
        return [sizes.get(name) for name in names]

    def age_s(self, name: str) -> float | None:
        """Seconds since a file was last written, by the clock of the store; None if it is missing."""
        if self.is_object_store:
            bucket, key = self._object(name)
            return self._try("listed", lambda: object_store.age_s(bucket, key), name)
        path = Path(self.filesystem()[1]) / name
        try:
            return self._try("listed", lambda: max(0.0, time.time() - path.stat().st_mtime), name)
        except MissingFileError:
            return None

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            MissingFileError: it is missing.
            StorageError: it cannot be read.
        """
        if self.is_object_store:
            bucket, key = self._object(name)
            return self._try("read", lambda: object_store.read(bucket, key), name)
        filesystem, root = self.filesystem()

        def content() -> bytes:
            with filesystem.open_input_stream(f"{root}/{name}") as stream:
                return bytes(stream.read())

        return self._try("read", content, name)

    def checksum(self, name: str) -> str:
        """SHA-256 of a file.

        Raises:
            MissingFileError: it is missing.
            StorageError: it cannot be read.
        """

        def digest() -> str:
            found = hashlib.sha256()
            for block in self._blocks(name):
                found.update(block)
            return found.hexdigest()

        return self._try("read", digest, name)

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically, even if the writer is killed.

        Raises:
            StorageError: the storage is full, missing or not writable; an older file of that name stays unchanged.
        """

        def put() -> None:
            if self.is_object_store:
                object_store.write(*self._object(name), data)
                return
            filesystem, root = self.filesystem()
            if self.is_local:
                write_whole(Path(root) / name, data)
            else:
                # An object appears when its upload is complete, so no temporary name is needed.
                with filesystem.open_output_stream(f"{root}/{name}") as stream:
                    stream.write(data)

        self._try("written", put, f"{name} ({len(data) / 1e6:.1f} MB)")

    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless it exists; of several writers at once, one succeeds. Returns whether it is ours.

        Raises:
            StorageError: the storage is full, missing or not writable, or knows no conditional writes.
        """

        def put() -> bool:
            if self.is_object_store:
                return object_store.create(*self._object(name), data)
            if not self.is_local:
                raise StorageError(f"{self.uri} has no conditional writes", "use a local folder or s3://bucket/prefix")
            return create_whole(Path(self.filesystem()[1]) / name, data)

        return self._try("written", put, name)

    def upload(self, source: Path, name: str) -> str:
        """Move a finished local file into this folder atomically; returns its SHA-256.

        Args:
            source: the file; for a local folder, on the same file system.

        Raises:
            StorageError: the storage is full, missing or not writable.
        """
        digest = hashlib.sha256()
        with explained_write_errors(f"{self.uri}/{name}"), source.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
            os.fsync(stream.fileno())

        def move() -> None:
            if self.is_object_store:
                object_store.upload(source, *self._object(name))
                return
            filesystem, root = self.filesystem()
            if self.is_local:
                source.replace(Path(root) / name)
                _sync_folder(Path(root))
                return
            with source.open("rb") as stream, filesystem.open_output_stream(f"{root}/{name}") as target:
                while block := stream.read(_BLOCK):
                    target.write(block)

        self._try("written", move, name)
        return digest.hexdigest()

    def delete(self, name: str) -> None:
        """Delete a file, which may be missing.

        Raises:
            StorageError: it cannot be deleted.
        """
        if self.is_object_store:
            bucket, key = self._object(name)
            self._try("deleted", lambda: object_store.delete(bucket, key), name)
            return
        filesystem, root = self.filesystem()
        with suppress(MissingFileError):
            self._try("deleted", lambda: filesystem.delete_file(f"{root}/{name}"), name)

    def commit(self, name: str, data: bytes) -> bool:
        """Write a small file whole, unless it exists; returns whether it is ours.

        In an object store one of several writers succeeds. A local folder has no whole file on a condition: there, a
        writer that comes later is refused, but not one of the same instant.

        Raises:
            StorageError: the storage is full, missing or not writable.
        """
        if self.is_object_store:
            return self.create(name, data)
        if self.size(name) is not None:
            return self.read(name) == data
        self.write(name, data)
        return True

    def abort_stale_uploads(self, older_than_s: float = STALE_UPLOAD_S) -> int:
        """Remove the parts of uploads below this folder whose writers died; returns the number of uploads."""
        if not self.is_object_store:
            return 0
        bucket, prefix = object_store.split(self.uri)
        return self._try("cleaned", lambda: object_store.abort_uploads(bucket, f"{prefix}/", older_than_s))

    def _object(self, name: str) -> tuple[str, str]:
        """Bucket and key of a file."""
        bucket, prefix = object_store.split(self.uri)
        return bucket, f"{prefix}/{name}" if prefix else name

    def _listing(self) -> dict[str, int]:
        """The size of each file directly in the folder, by name."""
        if self.is_object_store:
            bucket, prefix = object_store.split(self.uri)
            below = f"{prefix}/" if prefix else ""
            objects = self._try("listed", lambda: object_store.listing(bucket, below))
            return {found.name: found.size for found in objects}
        filesystem, root = self.filesystem()
        selector = pafs.FileSelector(root, allow_not_found=True)
        infos = self._try("listed", lambda: filesystem.get_file_info(selector))
        return {info.base_name: int(info.size) for info in infos if info.type == pafs.FileType.File}

    def _blocks(self, name: str) -> Iterator[bytes]:
        if self.is_object_store:
            yield from object_store.blocks(*self._object(name))
            return
        filesystem, root = self.filesystem()
        with filesystem.open_input_stream(f"{root}/{name}") as stream:
            while block := stream.read(_BLOCK):
                yield block

    def _try(self, verb: str, operation: Callable[[], T], name: str = "") -> T:
        return patiently(operation, f"{self.uri}/{name}" if name else self.uri, verb)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a local file atomically and durably: after a full disk or a kill, the old one is still there.

    Partial files of killed writers of the same file are removed once they are old.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp creates private files; ours follow the user's umask.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def create_whole(path: Path, data: bytes) -> bool:
    """Create a local file unless it exists (O_EXCL); returns whether this call created it.

    A reader may see it empty for a moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    _sync_folder(path.parent)
    return True


@contextmanager
def explained_write_errors(target: str) -> Iterator[None]:
    """Turn a failed write into an error with a remedy; what was written before stays."""
    try:
        yield
    except OSError as error:
        fault = fault_of(error)
        assert fault is not None
        raise storage_error(fault, target, "written") from error


@lru_cache(maxsize=64)
def _filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    filesystem, root = pafs.FileSystem.from_uri(uri)
    return filesystem, root.rstrip("/")


def _remove_leftovers(path: Path) -> None:
    leftover = re.compile(rf"^\.{re.escape(path.name)}\..*\.part$")
    for other in path.parent.iterdir():
        if leftover.match(other.name):
            with suppress(FileNotFoundError):  # another writer may have finished, or removed it
                if time.time() - other.stat().st_mtime > LEFTOVER_S:
                    other.unlink()


def _sync_folder(folder: Path) -> None:
    """A rename is durable once the folder is."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
