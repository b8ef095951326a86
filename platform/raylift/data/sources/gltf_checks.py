"""Checks a glTF file's JSON before a parser reads it: a few bytes may claim gigabytes of vertices or pixels."""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
from typing import Any

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.pictures import texture_pixels

_AGAIN = "export the mesh again"
_SMALLER = "simplify the mesh, or raise --max-file-mib"
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_ERRORS = (struct.error, KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError)


def check_gltf(data: bytes, name: str, max_bytes: int) -> None:
    """Refuse a .gltf or .glb file that claims more than it holds, or than the limits allow.

    Args:
        data: content of the file.
        name: of the file, for errors.
        max_bytes: limit on the arrays of the file, and on the pieces of buffers that it names.

    Raises:
        DataError: no glTF; arrays, vertices, triangles or textures above a limit.
    """
    try:
        header, binary = _split(data)
        views = header.get("bufferViews", [])
        accessors = header.get("accessors", [])
        limits.refuse_large(sum(_count(view["byteLength"]) for view in views), max_bytes, name, _SMALLER, "reads")
        limits.refuse_large(sum(map(_accessor_bytes, accessors)), max_bytes, name, _SMALLER, "claims")
        _check_elements(header, accessors, name)
        _check_textures(header, views, binary, name)
    except _ERRORS as error:
        raise DataError(f"{name} is no glTF file: {type(error).__name__}: {error}", _AGAIN) from None


def _split(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The JSON of a file, and the binary chunk of a .glb."""
    if data[:4] != b"glTF":
        return _object(data), b""
    size, kind = struct.unpack_from("<II", data, 12)
    if kind != 0x4E4F534A:
        raise ValueError("it does not begin with JSON")
    return _object(data[20 : 20 + size]), data[28 + size :]


def _object(text: bytes) -> dict[str, Any]:
    header = json.loads(text.decode("utf-8", "replace"))
    if not isinstance(header, dict):
        raise ValueError("its JSON is not an object")
    return header


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"a length is {value!r}")
    return value


def _accessor_bytes(accessor: dict[str, Any]) -> int:
    size = _COMPONENT_BYTES[accessor["componentType"]] * _COMPONENTS[accessor["type"]]
    return _count(accessor["count"]) * size


def _check_elements(header: dict[str, Any], accessors: list[dict[str, Any]], name: str) -> None:
    """Vertices and triangles; primitives may share an array, of which each gets a copy."""
    vertices = corners = 0
    for mesh in header.get("meshes", []):
        for primitive in mesh["primitives"]:
            found = primitive["attributes"].get("POSITION")
            vertices += 0 if found is None else _count(accessors[found]["count"])
            corners += _count(accessors[primitive["indices"]]["count"]) if "indices" in primitive else 0
    limits.refuse_above(limits.MESH_ELEMENTS, vertices, name, "vertices", "simplify the mesh")
    limits.refuse_above(limits.MESH_ELEMENTS, math.ceil(corners / 3), name, "triangles", "simplify the mesh")


def _check_textures(header: dict[str, Any], views: list[dict[str, Any]], binary: bytes, name: str) -> None:
    """Textures inside of the file; a resolver checks those in files of their own."""
    total = 0
    for number, image in enumerate(header.get("images", [])):
        uri = image.get("uri", "")
        if "bufferView" in image:
            view = views[image["bufferView"]]
            start = view.get("byteOffset", 0)
            content = binary[start : start + view["byteLength"]]
        elif "base64," in uri:
            try:
                content = base64.b64decode(uri.partition("base64,")[2])
            except binascii.Error:
                continue  # left out by the parser, too
        else:
            continue
        total += texture_pixels(content, f"texture {number} of {name}")
    limits.refuse_above(limits.TEXTURES_PIXELS, total, name, "pixels of textures", "make the textures smaller")
