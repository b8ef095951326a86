"""Reads .npy data: type and size are checked by its header, before memory is taken for the array."""

from __future__ import annotations

import io
import math

import numpy as np

from raylift.core.errors import DataError
from raylift.core.inputs import limits

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
NPY_MAGIC = b"\x93NUMPY"


def npy_shape(data: bytes, name: str, max_bytes: int, remedy: str = "save a smaller array") -> tuple[int, ...]:
    """Shape of the array in an .npy file, which is complete and holds no objects.

    Args:
        data: content of the file.
        name: of the file, for errors.
        max_bytes: limit on the array.
        remedy: for an array that is too large.

    Raises:
        DataError: no .npy file, cut short, larger than the limit, or an array of objects.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _HEADERS[version](stream)  # limits the header's length by itself
    except (ValueError, KeyError, EOFError, OSError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise DataError(f"{name} cannot be read: {error}", "save it again with numpy.save") from None
    if dtype.hasobject:
        raise DataError(f"{name} cannot be read: it holds Python objects", "save it as an array of numbers")
    if any(length < 0 for length in shape):
        raise DataError(f"{name} has the shape {shape}", "save it again with numpy.save")
    size = math.prod(shape) * dtype.itemsize
    limits.refuse_large(size, max_bytes, name, remedy)
    if size > len(data) - stream.tell():
        raise DataError(f"{name} is cut short: {shape} values of {dtype} do not fit into it", "copy it again")
    return tuple(shape)


def read_npy(data: bytes, name: str, max_bytes: int, remedy: str = "save a smaller array") -> np.ndarray:
    """The array in an .npy file, without pickle.

    Raises:
        DataError: as ``npy_shape``.
    """
    npy_shape(data, name, max_bytes, remedy)
    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError, MemoryError) as error:
        raise DataError(f"{name} cannot be read: {error}", "save it again with numpy.save") from None
    return array
