"""Small files that would cost gigabytes, made for tests."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

MIB = 1 << 20


@contextmanager
def frugal() -> Iterator[None]:
    """What happens here must not allocate more than 32 MiB at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 * MIB


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stored = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stored, kind, **options)
    return stored.getvalue()


def picture_bomb(kind: str, width: int = 12_000, height: int = 12_000) -> bytes:
    """A file of a few kilobytes whose header says ``width`` x ``height`` pixels; PNG and TIFF really hold them."""
    if kind == "PNG":
        return encoded(Image.new("1", (width, height)), "PNG")
    if kind == "TIFF":
        return encoded(Image.new("1", (width, height)), "TIFF", compression="group4")
    small = np.zeros((64, 64, 3), np.uint8)
    if kind == "JPEG":
        data = bytearray(encoded(small, "JPEG"))
        frame = data.index(b"\xff\xc0")  # start of frame: marker, length, bits, height, width
        data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    else:
        data = bytearray(encoded(small, "WEBP", lossless=True))
        sizes = data.index(b"VP8L") + 9  # chunk, length, signature, then 14 bits each: width - 1, height - 1
        data[sizes : sizes + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


def npy(shape: tuple[int, ...], kind: str = "<f4", content: bytes = b"") -> bytes:
    """An .npy file of any claimed shape and any content."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def zipped(members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stored.getvalue()


def lying_zip(name: str, num_bytes: int, claimed: int) -> bytes:
    """A zip with a member of ``num_bytes`` zeros that both of its headers say has ``claimed`` bytes."""
    data = bytearray(zipped({name: bytes(num_bytes)}))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = data.index(magic) + offset
        data[place : place + 4] = struct.pack("<I", claimed)
    return bytes(data)


def matlab(*elements: bytes, packed: bool = False) -> bytes:
    """A MATLAB file of level 5 of these elements."""
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    if packed:
        elements = tuple(struct.pack("<II", 15, len(one)) + one for one in map(zlib.compress, elements))
    return header + b"".join(elements)


def matrix(kind: int, shape: tuple[int, ...], name: bytes = b"record", *content: bytes) -> bytes:
    """An element that is a matrix of a class (1 cell, 2 structure, 4 text, 5 sparse, 6 double)."""
    parts = [
        _element(6, struct.pack("<II", kind, 0)),
        _element(5, struct.pack(f"<{len(shape)}i", *shape)),
        _element(1, name),
        *content,
    ]
    return _element(14, b"".join(parts))


def _element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def structure_fields() -> bytes:
    """The fields of a structure that has none."""
    return _element(5, struct.pack("<i", 8)) + _element(1, b"")


def glb(header: dict[str, Any], binary: bytes = b"") -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}, **header}).encode()
    text += b" " * (-len(text) % 4)
    binary += bytes(-len(binary) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body


def triangle_glb(**changes: Any) -> bytes:
    """A triangle, with entries of its JSON replaced."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    header = {
        "buffers": [{"byteLength": 48}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 12}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "nodes": [{"mesh": 0}],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    return glb({**header, **changes}, corners + np.arange(3, dtype="<u4").tobytes())
