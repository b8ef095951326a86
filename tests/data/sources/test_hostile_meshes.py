"""Meshes that claim more than they hold, or whose textures do."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.data.sources.mesh_reading import read_mesh_in_folder, read_mesh_in_zip
from tests.core.inputs.hostile import MIB, encoded, frugal, glb, picture_bomb, triangle_glb, zipped

HUGE = {"componentType": 5126, "count": 10**10, "type": "VEC3"}


def read(folder: Path, data: bytes, name: str = "x.glb", max_bytes: int = MIB) -> Any:
    (folder / name).write_bytes(data)
    return read_mesh_in_folder(folder, name, max_bytes)


def test_a_triangle_is_read(tmp_path: Path) -> None:
    assert len(read(tmp_path, triangle_glb()).scene.faces) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accessors": [HUGE]}, "x.glb claims"),  # zeros: it has no buffer
        ({"accessors": [{**HUGE, "count": -1}]}, "x.glb is no glTF"),
        ({"accessors": [{**HUGE, "count": 1.5}]}, "x.glb is no glTF"),
        ({"bufferViews": [{"buffer": 0, "byteLength": 48}] * 30_000}, "x.glb reads"),  # each a copy
        ({"bufferViews": [{"buffer": 0, "byteLength": 1 << 40}]}, "x.glb reads"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 9}}]}]}, "x.glb is no glTF"),
    ],
)
def test_what_a_gltf_claims_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, triangle_glb(**changes), max_bytes=1_400_000)
    assert caught.value.remedy


def test_copies_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances of a mesh, and primitives that share their vertices."""
    monkeypatch.setattr(limits, "MESH_ELEMENTS", 20)
    placed = {"nodes": [{"mesh": 0}] * 7, "scenes": [{"nodes": list(range(7))}]}
    with pytest.raises(DataError, match="x.glb: it has 21 triangles or vertices, more than the limit of 20"):
        read(tmp_path, triangle_glb(**placed))
    primitive = {"attributes": {"POSITION": 0}, "indices": 1}
    with pytest.raises(DataError, match="x.glb has 21 vertices"):
        read(tmp_path, triangle_glb(meshes=[{"primitives": [primitive] * 7}]))


@pytest.mark.parametrize("data", [b"", b"glTF", b"{}", b"[" * 100_000, glb({})[:30], b"glTF" + bytes(40)])
def test_what_is_no_gltf_is_refused(tmp_path: Path, data: bytes) -> None:
    for name in ("x.glb", "x.gltf"):
        with pytest.raises(DataError, match=name):
            read(tmp_path, data, name)


def textured(picture: bytes) -> bytes:
    uri = "data:image/png;base64," + base64.b64encode(picture).decode()
    return triangle_glb(
        images=[{"uri": uri}],
        textures=[{"source": 0}],
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
    )


def test_textures_inside_of_a_gltf_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = encoded(np.zeros((4, 4, 3), np.uint8))
    assert len(read(tmp_path, textured(small)).scene.faces) == 1
    with pytest.raises(DataError, match=r"texture 0 of x.glb has 12000 x 12000 pixels, more than the limit of 67 mill"):
        read(tmp_path, textured(picture_bomb("PNG")))
    monkeypatch.setattr(limits, "TEXTURES_PIXELS", 15)
    with pytest.raises(DataError, match="x.glb has 16 pixels of textures, more than the limit of 15"):
        read(tmp_path, textured(small))


OBJ = b"mtllib x.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n"
MTL = b"newmtl m\nKd 1 1 1\nmap_Kd x.png\n"


def test_textures_in_files_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    bomb = picture_bomb("PNG")
    for name, data in {"x.mtl": MTL, "x.png": bomb}.items():
        (tmp_path / name).write_bytes(data)
    library = tmp_path / "x.zip"
    library.write_bytes(zipped({"x.obj": OBJ, "x.mtl": MTL, "x.png": bomb}))
    for loaded in (read(tmp_path, OBJ, "x.obj"), read_mesh_in_zip(library, "x.obj", MIB)):
        assert loaded.scene.materials[0].texture is None
        (note,) = loaded.notes
        assert "'x.png', which is left out: x.png has 12000 x 12000 pixels, more than the limit" in note


def test_the_files_of_a_mesh_have_a_limit_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = encoded(np.random.default_rng(0).integers(0, 255, (30, 30, 3)).astype(np.uint8))
    for name, data in {"x.mtl": MTL, "x.png": picture}.items():
        (tmp_path / name).write_bytes(data)
    assert read(tmp_path, OBJ, "x.obj").scene.materials[0].texture is not None
    few = read(tmp_path, OBJ, "x.obj", max_bytes=len(picture) + 10)
    assert "the files of this mesh have" in few.notes[0]
    monkeypatch.setattr(limits, "MESH_FILES", 1)
    assert "this mesh has 2 files, more than the limit of 1" in read(tmp_path, OBJ, "x.obj").notes[0]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 10000000000\nproperty float x\n"
                  b"property float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\n"
                  b"end_header\n"),
        ("x.ply", b"ply\nformat ascii 1.0\nelement vertex 10000000000\nproperty float x\nproperty float y\n"
                  b"property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n"),
        ("x.off", b"OFF\n10000000000 10000000000 0\n0 0 0\n"),
        ("x.stl", bytes(80) + b"\xff\xff\xff\xff" + bytes(50)),
        ("x.obj", b"v 0 0 0\nf 1 2000000000 3\n"),
    ],
)  # fmt: skip
def test_claims_of_other_formats_cost_nothing(tmp_path: Path, name: str, data: bytes) -> None:
    with frugal(), pytest.raises(DataError, match=name):
        read(tmp_path, data, name)
