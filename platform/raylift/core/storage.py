"""A folder, local or in an object store, whose files appear whole or not at all."""

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
"""A partial file that was not touched for so long has no writer."""


@dataclass(frozen=True)
class Storage:
    """A folder: a local path, ``file://`` or ``s3://bucket/prefix`` (AWS_ENDPOINT_URL is honoured).

    Attributes:
        uri: absolute, so that it means the same to every worker.
    """

    uri: str

    @staticmethod
    def at(place: str | Path) -> Storage:
        """The folder of a path or URI.

        Raises:
            StorageError: no file system answers to it.
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
            StorageError: the scheme is unknown or the endpoint wrong.
        """
        # An object store's settings are part of the key: tests and notebooks change them within a process.
        settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
        try:
            return _filesystem(self.uri, settings)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise StorageError(
                f"{self.uri} cannot be reached: {error}", "give a local folder or s3://bucket/prefix, with credentials"
            ) from None

    def names(self, suffix: str = "") -> list[str]:
        """Files directly in the folder with this ending, sorted; none where the folder is missing."""
        filesystem, root = self.filesystem()
        with self._explained("listed"):
            found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        return sorted(
            info.base_name for info in found if info.type == pafs.FileType.File and info.base_name.endswith(suffix)
        )

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""
        return self.sizes([name])[0]

    def sizes(self, names: list[str]) -> list[int | None]:
        """Bytes of each file, None where there is none, in one request where the store can."""
        filesystem, root = self.filesystem()
        with self._explained("listed"):
            infos = filesystem.get_file_info([f"{root}/{name}" for name in names])
        return [int(info.size) if info.type == pafs.FileType.File else None for info in infos]

    def read(self, name: str) -> bytes:
        """The whole of a file.

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
        """Write a file that is seen whole or not at all, whatever kills the writer.

        Raises:
            StorageError: storage that is full, gone or not writable; an older file of that name stays as it was.
        """
        filesystem, root = self.filesystem()
        with explained_write_errors(f"{self.uri}/{name} ({len(data) / 1e6:.1f} MB)"):
            if self.is_local:
                Path(root).mkdir(parents=True, exist_ok=True)
                write_whole(Path(root) / name, data)
            else:
                # An object appears when its upload is complete, so a second name is not needed.
                with filesystem.open_output_stream(f"{root}/{name}") as stream:
                    stream.write(data)

    def upload(self, source: Path, name: str) -> str:
        """Move a finished local file to its place, whole or not at all; returns its SHA-256.

        Args:
            source: of a local folder, in the same file system.

        Raises:
            StorageError: storage that is full, gone or not writable.
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
        """Delete a file that may be gone already.

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
    """Replace a local file in one durable move, so that a full disk or a kill leaves the old one.

    What a killed writer of the same file left behind is removed once it is old.
    """
    _remove_leftovers(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; ours are as open as the user's umask says.
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
    """Turns a failed write into an error that says what to do; what was written before stays."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL or "No space left" in str(error):
            raise StorageError(
                f"no room left to write {target}", "free some space and run the same command again: it resumes"
            ) from error
        raise StorageError(
            f"{target} cannot be written: {error}", "check the folder's permissions or the store's"
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
