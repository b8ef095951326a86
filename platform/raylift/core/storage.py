"""A folder, local or in an object store, whose files are written atomically."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from raylift.core.errors import StorageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_BLOCK = 1 << 22
LEFTOVER_S = 600.0
"""A partial file that was not modified for this long has no live writer."""


@dataclass(frozen=True)
class Storage:
    """A folder: a local path, ``file://`` or ``s3://bucket/prefix`` (AWS_ENDPOINT_URL is honoured).

    Attributes:
        uri: absolute, so that it means the same on every worker.
    """

    uri: str

    @staticmethod
    def at(place: str | Path) -> Storage:
        """The folder of a path or URI.

        Raises:
            StorageError: no file system supports it.
        """
        text = str(place)
        storage = Storage(text.rstrip("/") if "://" in text else str(Path(text).expanduser().resolve()))
        storage.filesystem()
        return storage

    def __truediv__(self, name: str) -> Storage:
        return Storage(f"{self.uri}/{name}")

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem()[0], pafs.LocalFileSystem)

    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """The filesystem, and this folder's path in it.

        Raises:
            StorageError: the scheme is unknown, or the endpoint is wrong.
        """
        # An object store's settings are part of the key: tests and notebooks change them within a process.
        settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
        try:
            return _filesystem(self.uri, settings)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StorageError(
                f"{self.uri} cannot be reached: {error}", "use a local folder or s3://bucket/prefix, with credentials"
            ) from None

    def names(self, suffix: str = "") -> list[str]:
        """Names of the files directly in the folder with this suffix, sorted; empty if the folder is missing."""
        filesystem, root = self.filesystem()
        with self._explained("listed"):
            found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        return sorted(
            info.base_name for info in found if info.type == pafs.FileType.File and info.base_name.endswith(suffix)
        )

    def size(self, name: str) -> int | None:
        """Size of a file in bytes; None if it is missing."""
        filesystem, root = self.filesystem()
        with self._explained("listed"):
            info = filesystem.get_file_info(f"{root}/{name}")
        return int(info.size) if info.type == pafs.FileType.File else None

    def sizes(self, names: list[str]) -> list[int | None]:
        """Size of each file in bytes, None if missing; by one listing of the folder."""
        filesystem, root = self.filesystem()
        with self._explained("listed"):
            found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        sizes = {info.base_name: int(info.size) for info in found if info.type == pafs.FileType.File}
        return [sizes.get(name) for name in names]

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            StorageError: it is missing or cannot be read.
        """
        filesystem, root = self.filesystem()
        with self._explained("read", name), filesystem.open_input_stream(f"{root}/{name}") as stream:
            return bytes(stream.read())

    def checksum(self, name: str) -> str:
        """SHA-256 of a file.

        Raises:
            StorageError: it is missing or cannot be read.
        """
        digest = hashlib.sha256()
        filesystem, root = self.filesystem()
        with self._explained("read", name), filesystem.open_input_stream(f"{root}/{name}") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically, even if the writer is killed.

        Raises:
            StorageError: the storage is full, missing or not writable; an older file of that name stays unchanged.
        """
        filesystem, root = self.filesystem()
        with explained_write_errors(f"{self.uri}/{name} ({len(data) / 1e6:.1f} MB)"):
            if self.is_local:
                write_whole(Path(root) / name, data)
            else:
                # An object appears when its upload is complete, so no temporary name is needed.
                with filesystem.open_output_stream(f"{root}/{name}") as stream:
                    stream.write(data)

    def upload(self, source: Path, name: str) -> str:
        """Move a finished local file into this folder atomically; returns its SHA-256.

        Args:
            source: the file; for a local folder, on the same file system.

        Raises:
            StorageError: the storage is full, missing or not writable.
        """
        digest = hashlib.sha256()
        filesystem, root = self.filesystem()
        with explained_write_errors(f"{self.uri}/{name}"):
            with source.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                os.fsync(stream.fileno())
            if self.is_local:
                source.replace(Path(root) / name)
                _sync_folder(Path(root))
            else:
                with source.open("rb") as stream, filesystem.open_output_stream(f"{root}/{name}") as target:
                    while block := stream.read(_BLOCK):
                        target.write(block)
        return digest.hexdigest()

    def delete(self, name: str) -> None:
        """Delete a file, which may be missing.

        Raises:
            StorageError: it cannot be deleted.
        """
        filesystem, root = self.filesystem()
        try:
            with self._explained("deleted", name):
                filesystem.delete_file(f"{root}/{name}")
        except StorageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise

    @contextmanager
    def _explained(self, verb: str, name: str = "") -> Iterator[None]:
        where = f"{self.uri}/{name}" if name else self.uri
        try:
            yield
        except OSError as error:
            raise StorageError(f"{where} cannot be {verb}: {error}", "check the path and its storage") from error


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


@contextmanager
def explained_write_errors(target: str) -> Iterator[None]:
    """Turn a failed write into an error with a remedy; what was written before stays."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL or "No space left" in str(error):
            raise StorageError(
                f"no room left to write {target}", "free some space and rerun the same command to resume"
            ) from error
        raise StorageError(
            f"{target} cannot be written: {error}", "check the permissions of the folder or store"
        ) from error


@lru_cache(maxsize=64)
def _filesystem(uri: str, settings: tuple[tuple[str, str], ...]) -> tuple[pafs.FileSystem, str]:
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
