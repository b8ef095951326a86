"""Reads .npz and .mat files that may be hostile: no code of theirs runs, and nothing in them is larger than a limit."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from raylift.core.errors import DataError
from raylift.core.inputs.archives import open_zip, read_zip_member
from raylift.core.inputs.arrays import read_npy
from raylift.core.inputs.limits import read_file
from raylift.core.inputs.matlab import check_matlab

_AGAIN = "download the data set again"
_MAX_DEPTH = 12
_MAX_VALUES = 100_000


def read_arrays(path: Path, names: Sequence[str], max_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of these names of an .npz file, without pickle.

    Args:
        path: file.
        names: arrays to read; those that are missing are left out.
        max_bytes: limit on each array, unpacked.

    Raises:
        DataError: missing, damaged, too large, or an array that needs pickle.
    """
    found = {}
    for name, data in _members(path, names, max_bytes).items():
        found[name] = read_npy(data, f"{name!r} in {path.name}", max_bytes, _AGAIN)
    return found


def read_records(path: Path, name: str, max_bytes: int) -> list[dict[str, Any]]:
    """A pickled array of dictionaries of numbers, texts and arrays in an .npz file; nothing else is unpickled.

    Numbers and arrays come as Python's numbers and nested lists.

    Raises:
        DataError: missing, damaged, too large, or a pickle that needs anything else.
    """
    data = _members(path, (name,), max_bytes).get(name)
    if data is None:
        raise DataError(f"{path.name} has no array {name!r}", _AGAIN)
    try:
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        _, _, dtype = read_header(stream)
        if not dtype.hasobject:
            raise DataError(f"{name!r} in {path.name} has no records: it is an array of {dtype}", _AGAIN)
        content = _plain(_RecordUnpickler(stream).load(), [_MAX_VALUES])
    except DataError:
        raise
    except Exception as error:
        # A damaged pickle raises whatever its broken instructions lead to.
        raise DataError(f"{name!r} in {path.name} cannot be read: {type(error).__name__}: {error}", _AGAIN) from None
    records = content if isinstance(content, list) else [content]
    if not all(isinstance(record, dict) for record in records):
        raise DataError(f"{name!r} in {path.name} does not hold one dictionary per object", _AGAIN)
    return records


def read_matlab(path: Path, name: str, max_bytes: int) -> Any:
    """A variable of a MATLAB file: structures as dictionaries, arrays as nested lists, texts, numbers.

    Raises:
        DataError: missing, damaged, too large, or without that variable.
    """
    data = _file_bytes(path, max_bytes)
    check_matlab(data, path.name, max_bytes)
    try:
        content = scipy.io.loadmat(
            io.BytesIO(data), struct_as_record=False, squeeze_me=True, variable_names=[name], chars_as_strings=True
        )
        if name not in content:
            raise DataError(f"{path.name} has no variable {name!r}", _AGAIN)
        return _plain_matlab(content[name])
    except DataError:
        raise
    except NotImplementedError:
        raise DataError(f"{path.name} is a MATLAB 7.3 file", "save it with -v7") from None
    except Exception as error:
        raise DataError(f"{path.name} cannot be read: {type(error).__name__}: {error}", _AGAIN) from None


def _file_bytes(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise DataError(f"there is no {path.name} in {path.parent}", _AGAIN)
    data = read_file(path, max_bytes, _AGAIN)
    if not data:
        raise DataError(f"{path.name} is an empty file", _AGAIN)
    return data


def _members(path: Path, names: Sequence[str], max_bytes: int) -> dict[str, bytes]:
    """Unpacked members of an .npz file, by array name."""
    data = _file_bytes(path, max_bytes)
    found = {}
    with open_zip(data, path.name, _AGAIN) as archive:
        listed = {info.filename: info for info in archive.infolist()}
        for name in names:
            if (info := listed.get(f"{name}.npy")) is not None:
                found[name] = read_zip_member(archive, info, max_bytes, f"{name!r} in {path.name}", _AGAIN)
    return found


class _Dtype:
    """Stands in for ``numpy.dtype`` in a pickle: its letters only."""

    def __init__(self, code: str) -> None:
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    @property
    def is_object(self) -> bool:
        return self.code.startswith("O")

    def read(self, data: bytes | str) -> np.ndarray:
        if self.code[:1] not in "biufU":
            raise ValueError(f"values of type {self.code}")
        raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
        return np.frombuffer(raw, np.dtype(f"{self.order}{self.code}"))


class _Array:
    """Stands in for ``numpy.ndarray`` in a pickle: the state becomes a nested list."""

    def __init__(self) -> None:
        self.items: Any = []

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, by_column, data = state
        if dtype.is_object:
            self.items = list(data)
        else:
            values = dtype.read(data).reshape(tuple(int(length) for length in shape), order="F" if by_column else "C")
            self.items = values.tolist()


def _make_dtype(code: str, *_: Any) -> _Dtype:
    return _Dtype(code)


def _make_array(*_: Any) -> _Array:
    return _Array()


def _make_scalar(dtype: _Dtype, data: bytes | str) -> Any:
    return dtype.read(data)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """How Python 2's pickles write bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"text in {encoding}")
    return str(text).encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): "numpy.ndarray",  # only ever an argument of _reconstruct
    ("numpy", "dtype"): _make_dtype,
    ("_codecs", "encode"): _encode,
    **{
        (f"{package}.multiarray", name): make
        for package in ("numpy.core", "numpy._core")
        for name, make in (("_reconstruct", _make_array), ("scalar", _make_scalar))
    },
}


class _RecordUnpickler(pickle.Unpickler):
    """Builds dictionaries, lists and the stand-ins above; no global of a library is ever called."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(f"a pickled annotation tries to run {module}.{name}", "do not trust that file") from None

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("a pickled annotation refers to something outside of it", "do not trust that file")


def _plain(value: Any, budget: list[int], depth: int = 0) -> Any:
    """Stand-ins replaced by what they hold; ``budget`` holds the number of values that are still allowed.

    A pickle may refer to one list a thousand times from another, and so on: a few bytes become millions of values.
    """
    budget[0] -= 1
    if depth > _MAX_DEPTH or budget[0] < 0:
        raise ValueError("it holds too many values, or they are nested too deeply")
    if isinstance(value, _Array):
        return _plain(value.items, budget, depth + 1)
    if isinstance(value, (list, tuple)):
        return [_plain(item, budget, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item, budget, depth + 1) for key, item in value.items()}
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


def _plain_matlab(value: Any, depth: int = 0) -> Any:
    """MATLAB structures and arrays as dictionaries and lists."""
    if depth > _MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    if hasattr(value, "_fieldnames"):
        return {name: _plain_matlab(getattr(value, name), depth + 1) for name in value._fieldnames}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [_plain_matlab(item, depth + 1) for item in value.ravel()]
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
