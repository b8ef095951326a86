"""A folder, local or s3://, whose files appear whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from pyarrow import fs as arrow_fs

from raylift.core.errors import CheckpointError, ConfigError


class Folder:
    """One folder of a run's storage.

    Args:
        uri: a path, ``file://`` or ``s3://bucket/key`` (AWS_ENDPOINT_URL and the usual AWS variables are honoured).

    Raises:
        ConfigError: a URI that no file system answers to.
    """

    def __init__(self, uri: str | Path) -> None:
        text = str(uri)
        self.uri = text if "://" in text else str(Path(text).expanduser().resolve())
        try:
            if "://" in self.uri:
                self._fs, root = arrow_fs.FileSystem.from_uri(self.uri)
            else:
                self._fs, root = arrow_fs.LocalFileSystem(), self.uri
        except (ValueError, OSError) as error:
            raise ConfigError(f"cannot use {text!r} as storage: {error}", "give a folder or s3://bucket/key") from None
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._fs, arrow_fs.LocalFileSystem)

    def __truediv__(self, name: str) -> Folder:
        return Folder(f"{self.uri.rstrip('/')}/{name}")

    def names(self) -> list[str]:
        """Names of the files in the folder, sorted; empty where there is no folder."""
        selector = arrow_fs.FileSelector(self._root, allow_not_found=True)
        return sorted(
            info.base_name for info in self._fs.get_file_info(selector) if info.type == arrow_fs.FileType.File
        )

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            CheckpointError: it is not there or cannot be read.
        """
        try:
            with self._fs.open_input_stream(f"{self._root}/{name}") as stream:
                return bytes(stream.read())
        except OSError as error:
            raise CheckpointError(f"cannot read {self.uri}/{name}: {error}", "check the path and its storage") from None

    def write(self, name: str, data: bytes) -> None:
        """Write a file that is seen whole or not at all, whatever kills the writer.

        Raises:
            CheckpointError: storage that is full, gone or not writable; an older file of that name stays as it was.
        """
        try:
            if self._is_local:
                _write_local(Path(self._root), name, data)
            else:
                # An object appears when its upload is complete, so a second name is not needed.
                with self._fs.open_output_stream(f"{self._root}/{name}") as stream:
                    stream.write(data)
        except OSError as error:
            raise CheckpointError(
                f"cannot write {self.uri}/{name} ({len(data) / 1e6:.1f} MB): {error}",
                "make room, or check the storage and its rights; then run the same command again",
            ) from None

    def delete(self, name: str) -> None:
        """Delete a file that may be gone already."""
        try:
            self._fs.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise CheckpointError(f"cannot delete {self.uri}/{name}: {error}", "check the storage's rights") from None


def _write_local(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder, name)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; a run's folder is as open as the user's umask says.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, folder / name)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _sweep(folder: Path, name: str) -> None:
    """Remove what a killed writer of the same file left behind: one run has one writer."""
    pattern = re.compile(rf"^\.{re.escape(name)}\..*\.part$")
    for leftover in folder.iterdir():
        if pattern.match(leftover.name):
            leftover.unlink(missing_ok=True)
