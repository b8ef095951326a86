"""Reads members of zip and tar archives that may be hostile. Nothing is ever unpacked to a path."""

from __future__ import annotations

import gzip
import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raylift.core.errors import DataError
from raylift.core.inputs import limits

_BLOCK = 1 << 20
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DISTRUST = "do not trust this archive; if you know its origin, pack it again"
_ZIP_ERRORS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, OSError, EOFError, ValueError),
    NotImplementedError,  # a compression that the zipfile module does not know
    RuntimeError,  # an encrypted member
)


@contextmanager
def open_zip(source: Path | bytes, name: str, remedy: str) -> Iterator[zipfile.ZipFile]:
    """A zip archive whose list of members was checked; errors while it is open are explained.

    Args:
        source: path or content.
        name: of the archive, for errors.
        remedy: for a damaged archive.

    Raises:
        DataError: damaged, too many or too large members, or one that is a link or leads out of the archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            _check_members(archive, name)
            yield archive
    except _ZIP_ERRORS as error:
        raise DataError(f"{name} is damaged: {error}", remedy) from error


def read_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int, name: str, remedy: str) -> bytes:
    """Unpack a member of an archive from ``open_zip``, block by block.

    Args:
        max_bytes: limit, unpacked.
        name: of the member, for errors.
        remedy: for a member that is too large.

    Raises:
        DataError: larger than the limit or than its entry says, packed suspiciously well, or by a method whose
            unpacking cannot be limited.
        zipfile.BadZipFile and others: damaged; ``open_zip`` explains them.
    """
    refuse_member(member, max_bytes, name, remedy)
    with archive.open(member) as stream:
        blocks, size = [], 0
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > member.file_size:
                raise DataError(f"{name} unpacks to more than its archive says", _DISTRUST)
            blocks.append(block)
    return b"".join(blocks)


def refuse_member(member: zipfile.ZipInfo, max_bytes: int, name: str, remedy: str) -> None:
    """Refuse a member by its entry, before it is unpacked.

    Raises:
        DataError: see ``read_zip_member``.
    """
    limits.refuse_large(member.file_size, max_bytes, name, remedy, "unpacks to")
    if member.compress_type not in _PACKINGS:
        raise DataError(f"{name} is packed by method {member.compress_type}", "pack it as an ordinary zip (deflate)")
    if member.file_size > max(limits.RATIO_FROM_BYTES, limits.MEMBER_RATIO * member.compress_size):
        ratio = member.file_size / max(1, member.compress_size)
        raise DataError(
            f"{name} unpacks to {ratio:.0f} times its packed size, more than the limit of {limits.MEMBER_RATIO}",
            _DISTRUST + " without compression",
        )


def read_tar_member(archive: Path, member: str, max_bytes: int) -> bytes:
    """A file in a .tar.gz archive, which is unpacked to memory.

    Args:
        max_bytes: limit on the whole archive, unpacked.

    Raises:
        DataError: more than the limit, or too many members.
        KeyError: no such file.
        OSError, tarfile.TarError, EOFError, zlib.error: damaged.
    """
    with gzip.open(archive) as packed:
        content = packed.read(max_bytes + 1)
    limits.refuse_large(len(content), max_bytes, archive.name, _DISTRUST, "unpacks to")
    # A header may claim any size, but cannot hold more than the bytes that are there.
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as opened:
        for number, entry in enumerate(opened):
            limits.refuse_above(limits.ARCHIVE_MEMBERS, number, archive.name, "members", _DISTRUST)
            if entry.name == member and entry.isfile():
                stream = opened.extractfile(entry)
                assert stream is not None  # it is a file
                return stream.read()
    raise KeyError(f"{archive.name} has no file {member}")


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    members = archive.infolist()
    limits.refuse_above(limits.ARCHIVE_MEMBERS, len(members), name, "members", _DISTRUST)
    total = sum(member.file_size for member in members)
    limits.refuse_large(total, limits.ARCHIVE_BYTES, name, _DISTRUST, "unpacks to")
    for member in members:
        path = member.filename.replace("\\", "/")
        if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
            raise DataError(f"{name} has a member {member.filename!r}, which leads out of it", _DISTRUST)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DataError(f"{name} has a member {member.filename!r} that is a link", _DISTRUST)
