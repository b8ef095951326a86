"""Reads GLB files that ``export.mesh_files`` wrote, as viewers draw them: colours, normals, textures."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from raylift.core.color_space import linear_to_srgb
from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.pictures import open_picture
from raylift.export.parts import Part

_TYPES = {5126: "<f4", 5125: "<u4", 5123: "<u2"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


def read_glb(path: Path) -> list[Part]:
    """One part per material, with 16-bit colours, where trimesh, which reads users' files, rounds to 8.

    Raises:
        DataError: no such file, or not one that raylift wrote.
    """
    try:
        return decode_glb(Path(path).read_bytes())
    except (OSError, struct.error, KeyError, IndexError, ValueError) as error:
        raise DataError(f"{path} is not a GLB that raylift wrote: {error}", "reconstruct the object again") from error


def decode_glb(data: bytes) -> list[Part]:
    """The parts in the bytes of a .glb file.

    Raises:
        ValueError, KeyError, IndexError, struct.error: bytes that ``encode_glb`` does not produce.
    """
    magic, version, _ = struct.unpack_from("<III", data)
    if magic != 0x46546C67 or version != 2:
        raise ValueError("it does not begin like a glTF 2.0 file")
    (size,) = struct.unpack_from("<I", data, 12)
    header: dict[str, Any] = json.loads(data[20 : 20 + size])
    binary = data[28 + size :]
    parts = []
    for primitive in header["meshes"][0]["primitives"]:
        attributes = {name: _array(header, binary, index) for name, index in primitive["attributes"].items()}
        material = header["materials"][primitive["material"]]
        surface = material["pbrMetallicRoughness"]
        base = linear_to_srgb(np.asarray(surface["baseColorFactor"][:3], np.float64))
        colors, uvs = attributes.get("COLOR_0"), attributes.get("TEXCOORD_0")
        texture = surface.get("baseColorTexture")
        parts.append(
            Part(
                positions=attributes["POSITION"],
                indices=_array(header, binary, primitive["indices"]).reshape(-1, 3),
                base_color=(float(base[0]), float(base[1]), float(base[2])),
                normals=attributes.get("NORMAL"),
                colors=None if colors is None else _displayed(colors),
                uvs=None if uvs is None else np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1),
                texture=None if texture is None else _image(header, binary, texture["index"]),
                name=material.get("name", ""),
            )
        )
    return parts


def _displayed(stored: np.ndarray) -> np.ndarray:
    return (linear_to_srgb(stored[:, :3] / 65535.0) * 255 + 0.5).clip(0, 255).astype(np.uint8)


def _array(header: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    accessor = header["accessors"][index]
    width = _WIDTHS[accessor["type"]]
    start = header["bufferViews"][accessor["bufferView"]]["byteOffset"]
    values = np.frombuffer(binary, _TYPES[accessor["componentType"]], accessor["count"] * width, start)
    return values.reshape(-1, width) if width > 1 else values


def _image(header: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    image = header["images"][header["textures"][index]["source"]]
    view = header["bufferViews"][image["bufferView"]]
    encoded = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return np.asarray(open_picture(encoded, "a texture", limits.TEXTURE_PIXELS).convert("RGB"))
