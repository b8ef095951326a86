"""Archives of arrays and records: what they hold, and what hostile ones may not do."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from raylift.core.errors import DataError
from raylift.data.sources.array_archives import read_arrays, read_matlab, read_records

LIMIT = 1 << 20
RECORD = {
    "azimuth": np.float64(1.25),
    "height": np.uint16(480),
    "name": "car",
    "text": np.str_("bus"),
    "box": np.array([1.0, 2.5, 3.0, 4.0]),
    "grid": np.asfortranarray([[1, 2, 3], [4, 5, 6]]),
    "single": np.array(7),
    "big_endian": np.array([3.0], ">f8"),
    "flag": np.True_,
    "nested": {"list": [1, (2, None)]},
}
PLAIN = {
    "azimuth": 1.25,
    "height": 480,
    "name": "car",
    "text": "bus",
    "box": [1.0, 2.5, 3.0, 4.0],
    "grid": [[1, 2, 3], [4, 5, 6]],
    "single": 7,
    "big_endian": [3.0],
    "flag": True,
    "nested": {"list": [1, [2, None]]},
}


def archive(file: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(f"{name}.npy", data)
    return file


def pickled(content: Any, protocol: int = 4) -> bytes:
    """An .npy file of an object array whose pickle is that of ``content``."""
    stream = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + (content if isinstance(content, bytes) else pickle.dumps(content, protocol))


def test_records(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", annotations=np.array([RECORD, {"x": 1}], dtype=object))
    assert read_records(tmp_path / "a.npz", "annotations", LIMIT) == [PLAIN, {"x": 1}]


@pytest.mark.parametrize("protocol", [0, 2, 3, 4])
def test_records_of_every_pickle_protocol_that_numpy_writes(tmp_path: Path, protocol: int) -> None:
    file = archive(tmp_path / "a.npz", {"annotations": pickled(np.array([RECORD], dtype=object), protocol)})
    assert read_records(file, "annotations", LIMIT) == [PLAIN]


class Attack:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_a_pickle_cannot_run_code(tmp_path: Path) -> None:
    for number, content in enumerate(
        (Attack(tmp_path / "made"), [{"a": Attack(tmp_path / "made")}], np.array([Attack(tmp_path / "made")], object))
    ):
        file = archive(tmp_path / f"{number}.npz", {"annotations": pickled(content)})
        with pytest.raises(DataError, match="tries to run posix.mkdir"):
            read_records(file, "annotations", LIMIT)
        with pytest.raises(DataError, match="cannot be read"):
            read_arrays(file, ("annotations",), LIMIT)
    assert not (tmp_path / "made").exists()


def test_bombs_are_refused(tmp_path: Path) -> None:
    lists: Any = [0]
    for _ in range(8):
        lists = [lists] * 100
    file = archive(tmp_path / "lists.npz", {"annotations": pickled({"a": lists})})
    assert file.stat().st_size < 10_000
    with pytest.raises(DataError, match="too many values"):
        read_records(file, "annotations", LIMIT)
    np.savez_compressed(tmp_path / "zeros.npz", mask=np.zeros(LIMIT, np.uint8))
    assert (tmp_path / "zeros.npz").stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to"):
        read_arrays(tmp_path / "zeros.npz", ("mask",), LIMIT)
    with pytest.raises(DataError, match="more than"):
        read_arrays(tmp_path / "zeros.npz", ("mask",), 100)


@pytest.mark.parametrize(
    "content",
    [[1, 2], {"a": {1, 2}}, np.array([b"bytes"], object), np.array([np.datetime64(0, "s")], object), "text"],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(DataError):
        read_records(archive(tmp_path / "a.npz", {"annotations": pickled(content)}), "annotations", LIMIT)


def test_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", mask=np.eye(3, dtype=bool), other=np.array([{}], dtype=object))
    found = read_arrays(tmp_path / "a.npz", ("mask", "missing"), LIMIT)
    assert list(found) == ["mask"]
    np.testing.assert_array_equal(found["mask"], np.eye(3, dtype=bool))
    with pytest.raises(DataError, match="no array"):
        read_records(tmp_path / "a.npz", "missing", LIMIT)
    with pytest.raises(DataError, match="array of bool"):
        read_records(tmp_path / "a.npz", "mask", LIMIT)


def test_matlab(tmp_path: Path) -> None:
    content = {"name": "car", "size": np.array([3, 4]), "empty": np.zeros((0, 0)), "one": {"deep": 2.5}}
    savemat(tmp_path / "a.mat", {"record": content, "other": 1})
    found = read_matlab(tmp_path / "a.mat", "record", LIMIT)
    assert found == {"name": "car", "size": [3, 4], "empty": [], "one": {"deep": 2.5}}
    with pytest.raises(DataError, match="no variable 'missing'"):
        read_matlab(tmp_path / "a.mat", "missing", LIMIT)
    (tmp_path / "b.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + bytes(900))
    with pytest.raises(DataError, match="7.3"):
        read_matlab(tmp_path / "b.mat", "record", LIMIT)


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_damage_is_a_data_error(tmp_path_factory: pytest.TempPathFactory, place: float, value: int, cut: bool) -> None:
    """A changed or missing end never crashes a reader."""
    folder = tmp_path_factory.mktemp("damaged")
    np.savez(folder / "a.npz", annotations=np.array([RECORD], dtype=object))
    savemat(folder / "a.mat", {"record": {"name": "car", "size": np.arange(9)}}, do_compression=True)
    for file, read in (
        (folder / "a.npz", lambda file: read_records(file, "annotations", LIMIT)),
        (folder / "a.mat", lambda file: read_matlab(file, "record", LIMIT)),
    ):
        data = bytearray(file.read_bytes())
        at = int(place * (len(data) - 1))
        data = data[:at] if cut else data
        if not cut:
            data[at] = value
        file.write_bytes(bytes(data))
        try:
            read(file)
        except DataError:
            continue
