"""Checks MATLAB files of level 5 before a parser reads them: a few bytes may claim, or unpack to, gigabytes.

Layout: MAT-File Format, MathWorks, chapter 1 ("Level 5"). After a header of 128 bytes come elements: a tag with type
and length, and the data. An element may be packed by zlib. A matrix consists of flags, dimensions, name and data.
"""

from __future__ import annotations

import math
import struct
import zlib

from raylift.core.errors import DataError
from raylift.core.inputs import limits

_HEADER = 128
_MATRIX, _COMPRESSED, _INT32 = 14, 15, 5
_NESTED = (1, 2, 3)
"""Classes whose elements are matrices: cell, structure, object."""
_SPARSE, _FUNCTION, _OPAQUE = 5, 16, 17
_MAX_DEPTH = 32
_AGAIN = "download the data set again"


def check_matlab(data: bytes, name: str, max_bytes: int) -> None:
    """Refuse a file that costs much more to read than its size shows. Files of level 4 cannot, and pass.

    Args:
        data: content of the file.
        name: of the file, for errors.
        max_bytes: limit on its variables, unpacked.

    Raises:
        DataError: unpacks to more, claims more elements than it has bytes, is nested too deeply, damaged, or holds
            sparse matrices, functions or objects of unknown classes.
    """
    if len(data) < _HEADER or data[126:128] not in (b"IM", b"MI"):
        return
    order = "<" if data[126:128] == b"IM" else ">"
    left, place, view = max_bytes, _HEADER, memoryview(data)
    try:
        while place + 8 <= len(data):
            kind, size, begin, place = _element(view, place, order, padded=False)
            content = view[begin : begin + size]
            if kind == _COMPRESSED:
                unpacked = memoryview(_unpacked(content, left, name))
                left -= len(unpacked)
                kind, size, begin, _ = _element(unpacked, 0, order)
                content = unpacked[begin : begin + size]
            if kind == _MATRIX:
                _check_matrix(content, order, name, 0)
    except (struct.error, zlib.error, IndexError) as error:
        raise DataError(f"{name} cannot be read: {error}", _AGAIN) from None


def _unpacked(packed: memoryview, limit: int, name: str) -> bytes:
    content = zlib.decompressobj().decompress(packed, limit + 1)
    limits.refuse_large(len(content), limit, name, _AGAIN, "unpacks to")
    return content


def _element(data: memoryview, place: int, order: str, padded: bool = True) -> tuple[int, int, int, int]:
    """Type and length of the element at ``place``, where its data begin, and where the next element begins."""
    (kind,) = struct.unpack_from(f"{order}I", data, place)
    if kind >> 16:  # a short element: its length and up to four bytes of data share the tag
        return kind & 0xFFFF, kind >> 16, place + 4, place + 8
    (size,) = struct.unpack_from(f"{order}I", data, place + 4)
    begin = place + 8
    if begin + size > len(data):
        raise IndexError("an element is longer than the file")
    return kind, size, begin, begin + size + (-size % 8 if padded else 0)


def _check_matrix(data: memoryview, order: str, name: str, depth: int) -> None:
    """Refuse an array with more elements than bytes, here and in what it holds."""
    if not data:
        return  # an empty cell
    if depth > _MAX_DEPTH:
        raise DataError(f"{name} is nested more than {_MAX_DEPTH} levels deep", _AGAIN)
    _, size, begin, place = _element(data, 0, order)
    (flags,) = struct.unpack_from(f"{order}I", data, begin)
    if flags & 0xFF in (_SPARSE, _FUNCTION, _OPAQUE):
        raise DataError(f"{name} holds a sparse matrix, a function or an object", "save it as full arrays")
    kind, size, begin, place = _element(data, place, order)
    if kind != _INT32 or size % 4:
        raise DataError(f"{name} cannot be read: an array has no dimensions", _AGAIN)
    shape = struct.unpack_from(f"{order}{size // 4}i", data, begin)
    num_nested = 0
    while place + 8 <= len(data):
        kind, size, begin, place = _element(data, place, order)
        if kind == _MATRIX:
            num_nested += 1
            _check_matrix(data[begin : begin + size], order, name, depth + 1)
    # A number or character takes a byte or more. A structure without fields holds nothing, so only one is let through.
    most = max(1, num_nested) if flags & 0xFF in _NESTED else len(data)
    if min(shape, default=0) < 0 or math.prod(shape) > most:
        raise DataError(f"{name} claims an array of {' x '.join(map(str, shape))} in {len(data)} bytes", _AGAIN)
