"""Archives and arrays that claim or unpack to more than they should."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.archives import open_zip, read_tar_member, read_zip_member
from raylift.core.inputs.arrays import npy_shape, read_npy
from tests.core.inputs.hostile import MIB, frugal, lying_zip, npy, zipped


def first_of(data: bytes, max_bytes: int = 8 * MIB) -> bytes:
    with open_zip(data, "a.zip", "fetch it again") as archive:
        member = archive.infolist()[0]
        return read_zip_member(archive, member, max_bytes, member.filename, "split it")


def test_members_are_read() -> None:
    assert first_of(zipped({"a/b.obj": b"v 0 0 0"})) == b"v 0 0 0"
    assert first_of(zipped({"a": bytes(MIB)})) == bytes(MIB)  # what is small may be packed well
    assert first_of(zipped({"a": b"stored"}, zipfile.ZIP_STORED)) == b"stored"


def test_a_member_above_the_limit_is_refused_by_its_entry() -> None:
    data = zipped({"a": bytes(48 * MIB)})
    with frugal(), pytest.raises(DataError, match="a unpacks to 48 MiB, more than the limit of 8"):
        first_of(data)


def test_an_entry_that_lies_costs_nothing() -> None:
    """zipfile would unpack all of it to return the first ten bytes."""
    data = lying_zip("a", 48 * MIB, 10)
    assert len(data) < 50_000
    with frugal(), pytest.raises(DataError, match="a.zip is damaged"):
        first_of(data)


def test_suspicious_ratios_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({"a": bytes(MIB)})
    monkeypatch.setattr(limits, "RATIO_FROM_BYTES", MIB // 2)
    with pytest.raises(DataError, match=r"a unpacks to \d+ times its packed size, more than the limit of 200"):
        first_of(data)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_packings_without_a_bound_are_refused(packing: int) -> None:
    with pytest.raises(DataError, match="packed by method"):
        first_of(zipped({"a": b"abc"}, packing))


def test_members_that_lead_out_are_refused() -> None:
    for name in ("../a", "a/../../b", "/etc/passwd", "..\\a", "C:\\a"):
        with pytest.raises(DataError, match="leads out of it"):
            first_of(zipped({name: b""}))
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="is a link"):
        first_of(stored.getvalue())


def test_counts_and_totals_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped({str(number): bytes(100) for number in range(10)})
    monkeypatch.setattr(limits, "ARCHIVE_MEMBERS", 9)
    with pytest.raises(DataError, match="a.zip has 10 members, more than the limit of 9"):
        first_of(data)
    monkeypatch.setattr(limits, "ARCHIVE_MEMBERS", 10)
    monkeypatch.setattr(limits, "ARCHIVE_BYTES", 999)
    with pytest.raises(DataError, match="a.zip unpacks to"):
        first_of(data)


def test_damage_is_said() -> None:
    data = bytearray(zipped({"a": np.random.default_rng(0).bytes(1000)}))
    with pytest.raises(DataError, match="a.zip is damaged"):
        first_of(bytes(data[:500]))
    data[500] ^= 255
    with pytest.raises(DataError, match="a.zip is damaged"):
        first_of(bytes(data))


def test_tar_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("a", "b"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert read_tar_member(path, "b", MIB) == b"abc"
    for name in ("c", "link"):
        with pytest.raises(KeyError):
            read_tar_member(path, name, MIB)
    monkeypatch.setattr(limits, "ARCHIVE_MEMBERS", 1)
    with pytest.raises(DataError, match=r"w.tar.gz has 2 members"):
        read_tar_member(path, "c", MIB)


def test_a_tar_bomb_is_refused(tmp_path: Path) -> None:
    """A header that claims a name of 40 MiB: tarfile would read all of it to know the member."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 40 * MIB
    with gzip.open(tmp_path / "w.tar.gz", "wb") as stream:
        stream.write(info.tobuf())
        for _ in range(40):
            stream.write(bytes(MIB))
    assert (tmp_path / "w.tar.gz").stat().st_size < MIB
    with frugal(), pytest.raises(DataError, match="w.tar.gz unpacks to"):
        read_tar_member(tmp_path / "w.tar.gz", "a", 8 * MIB)


def test_arrays_are_refused_by_their_headers() -> None:
    with frugal(), pytest.raises(DataError, match=r"depth has 38,147 MiB, more than the limit of 8"):
        read_npy(npy((100_000, 100_000)), "depth", 8 * MIB)
    with pytest.raises(DataError, match="depth is cut short"):
        read_npy(npy((1000, 1000), content=bytes(100)), "depth", 8 * MIB)
    with pytest.raises(DataError, match="depth has the shape"):
        read_npy(npy((-1, 4)), "depth", 8 * MIB)
    with pytest.raises(DataError, match="holds Python objects"):
        read_npy(npy((1,), "|O", b"cos\nsystem\n."), "depth", 8 * MIB)
    for data in (b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x09\x00" + bytes(20)):
        with pytest.raises(DataError, match="depth cannot be read"):
            read_npy(data, "depth", 8 * MIB)


def test_arrays_pass() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = npy((2, 3), content=values.tobytes())
    assert npy_shape(data, "depth", 24) == (2, 3)
    assert np.array_equal(read_npy(data, "depth", 24), values)
