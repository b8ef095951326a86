"""What of the glTF 2.0 specification our files could break, checked without any other program."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from PIL import Image

_COMPONENTS = {5121: np.dtype("u1"), 5123: np.dtype("<u2"), 5125: np.dtype("<u4"), 5126: np.dtype("<f4")}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Glb:
    """A file taken apart; ``problems`` names everything that is wrong with its structure."""

    def __init__(self, content: bytes) -> None:
        self.problems: list[str] = []
        magic, version, total = struct.unpack_from("<III", content)
        self._expect((magic, version, total) == (0x46546C67, 2, len(content)), "header")
        length, kind = struct.unpack_from("<II", content, 12)
        self._expect(kind == 0x4E4F534A and length % 4 == 0, "JSON chunk")
        self.header: dict[str, Any] = json.loads(content[20 : 20 + length])
        size, kind = struct.unpack_from("<II", content, 20 + length)
        self._expect(kind == 0x004E4942 and size % 4 == 0 and 28 + length + size == total, "binary chunk")
        self.binary = content[28 + length :]
        self._expect(self.header["buffers"] == [{"byteLength": size}], "buffer length")
        self._check_views()
        for mesh in self.header["meshes"]:
            for primitive in mesh["primitives"]:
                self._check_primitive(primitive)

    def array(self, accessor: int) -> np.ndarray:
        """The values of an accessor: [count, width]."""
        described = self.header["accessors"][accessor]
        kind, width = _COMPONENTS[described["componentType"]], _WIDTHS[described["type"]]
        content = self.view(described["bufferView"])
        self._expect(len(content) == described["count"] * width * kind.itemsize, f"length of accessor {accessor}")
        return np.frombuffer(content, kind).reshape(-1, width)

    def view(self, number: int) -> bytes:
        described = self.header["bufferViews"][number]
        return self.binary[described["byteOffset"] : described["byteOffset"] + described["byteLength"]]

    def image(self, number: int) -> np.ndarray:
        described = self.header["images"][number]
        self._expect(described["mimeType"] == "image/png", "image type")
        return np.asarray(Image.open(io.BytesIO(self.view(described["bufferView"]))))

    def _check_views(self) -> None:
        ends = 0
        for number, view in enumerate(self.header["bufferViews"]):
            self._expect(view["byteOffset"] % 4 == 0, f"alignment of view {number}")
            self._expect(view["byteOffset"] >= ends, f"view {number} overlaps the one before")
            ends = view["byteOffset"] + view["byteLength"]
        self._expect(ends <= len(self.binary), "views end beyond the buffer")

    def _check_primitive(self, primitive: dict[str, Any]) -> None:
        attributes = {name: self.array(number) for name, number in primitive["attributes"].items()}
        positions = attributes["POSITION"]
        described = self.header["accessors"][primitive["attributes"]["POSITION"]]
        self._expect(described["min"] == positions.min(axis=0).tolist(), "minimum of positions")
        self._expect(described["max"] == positions.max(axis=0).tolist(), "maximum of positions")
        for name, values in attributes.items():
            self._expect(len(values) == len(positions), f"count of {name}")
            self._expect(bool(np.isfinite(values.astype(np.float64)).all()), f"{name} is not finite")
        if "NORMAL" in attributes:
            lengths = np.linalg.norm(attributes["NORMAL"], axis=1)
            self._expect(bool(np.abs(lengths - 1).max() < 5e-4), "normals are not unit")
        indices = self.array(primitive["indices"])
        self._expect(len(indices) % 3 == 0 and int(indices.max()) < len(positions), "indices")
        surface = self.header["materials"][primitive["material"]]["pbrMetallicRoughness"]
        texture = surface.get("baseColorTexture")
        self._expect((texture is None) or "TEXCOORD_0" in attributes, "a texture without coordinates")
        if texture is not None:
            source = self.header["textures"][texture["index"]]["source"]
            self._expect(self.image(source).ndim == 3, "texture image")

    def _expect(self, condition: bool, what: str) -> None:
        if not condition:
            self.problems.append(what)
