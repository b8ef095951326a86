"""Files of a data set on a local disk or in an object store, behind one small face."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from raylift.core.errors import DataError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True)
class Storage:
    """A folder: a local path, or ``s3://bucket/prefix`` (AWS_ENDPOINT_URL is honoured).

    Attributes:
        uri: absolute, so that it means the same to every worker.
    """

    uri: str

    @staticmethod
    def at(place: str | Path) -> Storage:
        text = str(place)
        if "://" not in text:
            return Storage(str(Path(text).expanduser().resolve()))
        return Storage(text.rstrip("/"))

    @property
    def is_local(self) -> bool:
        return "://" not in self.uri

    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """The filesystem, and this folder's path in it.

        Raises:
            DataError: the scheme is unknown or the endpoint wrong.
        """
        try:
            found: tuple[pafs.FileSystem, str] = pafs.FileSystem.from_uri(self.uri)
            return found
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(
                f"{self.uri} cannot be reached: {error}", "give a local folder or s3://bucket/prefix, with credentials"
            ) from error

    def size(self, name: str) -> int | None:
        """Bytes of a file, None where there is none."""
        filesystem, root = self.filesystem()
        info = filesystem.get_file_info(f"{root}/{name}")
        return int(info.size) if info.type == pafs.FileType.File else None

    def sizes(self, names: list[str]) -> list[int | None]:
        """Bytes of each file, None where there is none, in one request where the store can."""
        filesystem, root = self.filesystem()
        infos = filesystem.get_file_info([f"{root}/{name}" for name in names])
        return [int(info.size) if info.type == pafs.FileType.File else None for info in infos]

    def names(self, suffix: str) -> list[str]:
        """Files directly in the folder with this ending, sorted; none where the folder is missing."""
        filesystem, root = self.filesystem()
        found = filesystem.get_file_info(pafs.FileSelector(root, allow_not_found=True))
        return sorted(
            info.base_name for info in found if info.type == pafs.FileType.File and info.base_name.endswith(suffix)
        )

    def read(self, name: str) -> bytes:
        """The whole of a file.

        Raises:
            DataError: it is missing or cannot be read.
        """
        filesystem, root = self.filesystem()
        try:
            with filesystem.open_input_stream(f"{root}/{name}") as stream:
                return bytes(stream.read())
        except OSError as error:
            raise DataError(
                f"{self.uri}/{name} cannot be read: {error}", "is it the folder of a prepared data set?"
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file so that it is there whole or not at all.

        Raises:
            DataError: no room, or no permission.
        """
        filesystem, root = self.filesystem()
        with explained_write_errors(f"{self.uri}/{name}"):
            if self.is_local:
                Path(root).mkdir(parents=True, exist_ok=True)
                scratch = Path(root) / f".{name}.{os.getpid()}.part"
                try:
                    scratch.write_bytes(data)
                    scratch.replace(Path(root) / name)
                finally:
                    scratch.unlink(missing_ok=True)
            else:
                with filesystem.open_output_stream(f"{root}/{name}") as stream:  # visible once closed
                    stream.write(data)

    def upload(self, source: Path, name: str) -> str:
        """Move a finished local file to its place, whole or not at all; its SHA-256 is returned.

        Raises:
            DataError: no room, or no permission.
        """
        digest = hashlib.sha256()
        with source.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        filesystem, root = self.filesystem()
        with explained_write_errors(f"{self.uri}/{name}"):
            if self.is_local:
                source.replace(Path(root) / name)
            else:
                with source.open("rb") as stream, filesystem.open_output_stream(f"{root}/{name}") as target:
                    while block := stream.read(1 << 22):
                        target.write(block)
        return digest.hexdigest()

    def checksum(self, name: str) -> str:
        """SHA-256 of a file."""
        digest = hashlib.sha256()
        filesystem, root = self.filesystem()
        with filesystem.open_input_stream(f"{root}/{name}") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
        return digest.hexdigest()


@contextmanager
def explained_write_errors(target: str) -> Iterator[None]:
    """Turns a failed write into an error that says what to do; what was written before stays."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL or "No space left" in str(error):
            raise DataError(
                f"there is no room left to write {target}",
                "free some space and run the same command again: finished shards are kept",
            ) from error
        raise DataError(
            f"{target} cannot be written: {error}", "check the folder's permissions or the store's"
        ) from error
