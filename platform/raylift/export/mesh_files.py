"""GLB, OBJ + MTL and PLY files with vertex colours and textures, written atomically."""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raylift.core.color_space import srgb_to_linear
from raylift.core.errors import DataError
from raylift.core.storage import write_whole
from raylift.core.types import Mesh
from raylift.export.parts import Part, displayed_colors, split_into_parts
from raylift.rendering.scene import Scene


def write_mesh(shape: Mesh | Scene, path: Path) -> Path:
    """Write a mesh in the format of the file's suffix: .glb, .obj (with .mtl and textures next to it) or .ply.

    Raises:
        DataError: the mesh has no faces or is invalid, the format is unknown, or writing fails.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"cannot write a mesh as {path.name}", f"use one of {', '.join(sorted(_WRITERS))}")
    parts = split_into_parts(shape)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(parts, path)
    except OSError as error:
        raise DataError(f"{path} was not written: {error.strerror}", "free space, or choose another folder") from error
    return path


def file_stem(sample: str) -> str:
    """A sample's id as a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", sample)


# -- GLB: glTF 2.0 (Khronos), chapters 3.6, 3.9 and 4 --------------------------------------------------------

_FLOAT, _UINT32, _UINT16 = 5126, 5125, 5123
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963


def encode_glb(shape: Mesh | Scene) -> bytes:
    """The bytes of a .glb file.

    Raises:
        DataError: the mesh has no faces or is invalid.
    """
    return _encode_glb(split_into_parts(shape))


class _Buffer:
    """Collects accessors over one binary chunk."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add_view(self, content: bytes, target: int | None = None) -> int:
        self.content.extend(b"\0" * (-len(self.content) % 4))
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.content.extend(content)
        return len(self.views) - 1

    def add_array(self, array: np.ndarray, kind: str, component: int, target: int, **more: Any) -> int:
        view = self.add_view(np.ascontiguousarray(array).tobytes(), target)
        self.accessors.append(
            {"bufferView": view, "componentType": component, "count": len(array), "type": kind, **more}
        )
        return len(self.accessors) - 1


def _encode_glb(parts: list[Part]) -> bytes:
    buffer = _Buffer()
    primitives: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for part in parts:
        positions = part.positions.astype("<f4")
        bounds = {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
        attributes = {"POSITION": buffer.add_array(positions, "VEC3", _FLOAT, _ARRAY_BUFFER, **bounds)}
        if part.normals is not None:
            attributes["NORMAL"] = buffer.add_array(part.normals.astype("<f4"), "VEC3", _FLOAT, _ARRAY_BUFFER)
        if part.colors is not None:
            rgba = np.ones((len(part.colors), 4))
            rgba[:, :3] = srgb_to_linear(part.colors / 255.0)
            # 16 bits: linear 8-bit colours would show banding in dark areas.
            stored = (rgba * 65535 + 0.5).astype("<u2")
            attributes["COLOR_0"] = buffer.add_array(stored, "VEC4", _UINT16, _ARRAY_BUFFER, normalized=True)
        surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
        surface["baseColorFactor"] = [*srgb_to_linear(np.asarray(part.base_color, np.float64)).tolist(), 1.0]
        if part.texture is not None and part.uvs is not None:
            flipped = np.stack([part.uvs[:, 0], 1.0 - part.uvs[:, 1]], axis=1).astype("<f4")
            attributes["TEXCOORD_0"] = buffer.add_array(flipped, "VEC2", _FLOAT, _ARRAY_BUFFER)
            surface["baseColorTexture"] = {"index": len(images)}
            images.append({"bufferView": buffer.add_view(_encode_png(part.texture)), "mimeType": "image/png"})
        indices = buffer.add_array(part.indices.reshape(-1).astype("<u4"), "SCALAR", _UINT32, _ELEMENT_ARRAY_BUFFER)
        materials.append({"name": part.name or "surface", "pbrMetallicRoughness": surface, "doubleSided": True})
        primitives.append({"attributes": attributes, "indices": indices, "material": len(materials) - 1})
    header: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "raylift"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": primitives}],
        "materials": materials,
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.content) + -len(buffer.content) % 4}],
    }
    if images:
        header["images"] = images
        header["samplers"] = [{"wrapS": 10497, "wrapT": 10497, "magFilter": 9729, "minFilter": 9987}]
        header["textures"] = [{"source": index, "sampler": 0} for index in range(len(images))]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    binary = bytes(buffer.content) + b"\0" * (-len(buffer.content) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


def _encode_png(texture: np.ndarray) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(texture).save(stored, "png")
    return stored.getvalue()


def _write_glb(parts: list[Part], path: Path) -> None:
    write_whole(path, _encode_glb(parts))


# -- OBJ -----------------------------------------------------------------------------------------------------


def _write_obj(parts: list[Part], path: Path) -> None:
    stem = re.sub(r"\s+", "_", path.stem)  # OBJ has no quotes, so names with spaces break its readers
    body, library = io.StringIO(), io.StringIO()
    body.write(f"# raylift\nmtllib {stem}.mtl\n")
    vertex_start = uv_start = normal_start = 1
    for number, part in enumerate(parts):
        table = part.positions
        if part.colors is not None:  # the widespread extension: "v x y z r g b"
            table = np.concatenate([part.positions, part.colors / 255.0], axis=1)
        np.savetxt(body, table, fmt="v" + " %.6g" * table.shape[1])
        corners = [part.indices.astype(np.int64) + vertex_start]
        words = ["%d"]
        if part.uvs is not None:
            np.savetxt(body, part.uvs, fmt="vt %.6g %.6g")
            corners.append(part.indices.astype(np.int64) + uv_start)
            words.append("/%d")
            uv_start += len(part.uvs)
        if part.normals is not None:
            np.savetxt(body, part.normals, fmt="vn %.4g %.4g %.4g")
            corners.append(part.indices.astype(np.int64) + normal_start)
            words.append("/%d" if part.uvs is not None else "//%d")
            normal_start += len(part.normals)
        body.write(f"usemtl part_{number}\n")
        np.savetxt(body, np.stack(corners, axis=2).reshape(len(part.indices), -1), fmt="f" + (" " + "".join(words)) * 3)
        vertex_start += len(part.positions)
        library.write(f"newmtl part_{number}\n# {part.name}\nKa 0 0 0\nKs 0 0 0\n")
        library.write("Kd {:.6g} {:.6g} {:.6g}\n".format(*part.base_color))
        if part.texture is not None:
            write_whole(path.with_name(f"{stem}_{number}.png"), _encode_png(part.texture))
            library.write(f"map_Kd {stem}_{number}.png\n")
    write_whole(path.with_name(f"{stem}.mtl"), library.getvalue().encode())
    write_whole(path, body.getvalue().encode())


# -- PLY -----------------------------------------------------------------------------------------------------


def _write_ply(parts: list[Part], path: Path) -> None:
    """Binary; a texture becomes vertex colours, since PLY has no standard way to reference one."""
    colors = [displayed_colors(part) for part in parts]
    has_color = any(color is not None for color in colors)
    fields: list[Any] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if has_color:
        fields += [("red", "u1"), ("green", "u1"), ("blue", "u1")]
    vertices = np.empty(sum(len(part.positions) for part in parts), dtype=fields)
    faces = np.empty(sum(len(part.indices) for part in parts), dtype=[("count", "u1"), ("corners", "<i4", 3)])
    faces["count"] = 3
    vertex, face = 0, 0
    for part, color in zip(parts, colors, strict=True):
        span = slice(vertex, vertex + len(part.positions))
        for axis, name in enumerate("xyz"):
            vertices[name][span] = part.positions[:, axis]
        if has_color:
            for axis, name in enumerate(("red", "green", "blue")):
                vertices[name][span] = 255 if color is None else color[:, axis]
        faces["corners"][face : face + len(part.indices)] = part.indices.astype(np.int64) + vertex
        vertex, face = span.stop, face + len(part.indices)
    lines = ["ply", "format binary_little_endian 1.0", "comment raylift", f"element vertex {len(vertices)}"]
    lines += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in fields]
    lines += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    write_whole(path, "\n".join(lines).encode() + vertices.tobytes() + faces.tobytes())


_WRITERS: dict[str, Callable[[list[Part], Path], None]] = {".glb": _write_glb, ".obj": _write_obj, ".ply": _write_ply}
