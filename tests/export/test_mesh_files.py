"""What is written is what other programs read."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raylift.core import storage
from raylift.core.color_space import srgb_to_linear
from raylift.core.errors import DataError
from raylift.core.types import Mesh
from raylift.export.mesh_files import encode_glb, write_mesh
from raylift.export.parts import sample_texture, split_into_parts, thin_out, vertex_normals
from raylift.export.texture_padding import PADDING
from raylift.rendering.scene import Scene
from tests.export.shapes import colored_sphere, textured_square, two_material_scene


def glb_header(content: bytes) -> dict[str, object]:
    length = struct.unpack("<I", content[12:16])[0]
    header: dict[str, object] = json.loads(content[20 : 20 + length])
    return header


@pytest.mark.parametrize("ending", ["glb", "obj", "ply"])
def test_geometry_comes_back(tmp_path: Path, ending: str) -> None:
    mesh = colored_sphere()
    back = trimesh.load(write_mesh(mesh, tmp_path / f"a ball.{ending}"), force="mesh", process=False)
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-5)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    assert back.is_watertight


def test_colors_come_back_from_ply(tmp_path: Path) -> None:
    mesh = colored_sphere()
    back = trimesh.load(write_mesh(mesh, tmp_path / "ball.ply"), process=False)
    np.testing.assert_allclose(back.visual.vertex_colors[:, :3] / 255, mesh.vertex_colors, atol=0.003)


def test_colors_come_back_from_obj(tmp_path: Path) -> None:
    mesh = colored_sphere()
    lines = write_mesh(mesh, tmp_path / "ball.obj").read_text().splitlines()
    table = np.array([line.split()[1:] for line in lines if line.startswith("v ")], dtype=float)
    np.testing.assert_allclose(table[:, 3:], mesh.vertex_colors, atol=0.003)


def test_colors_in_glb_are_linear(tmp_path: Path) -> None:
    mesh = colored_sphere()
    content = write_mesh(mesh, tmp_path / "ball.glb").read_bytes()
    header: Any = glb_header(content)
    accessor = header["accessors"][header["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    assert accessor["normalized"]
    assert accessor["componentType"] == 5123
    start = 28 + struct.unpack("<I", content[12:16])[0] + header["bufferViews"][accessor["bufferView"]]["byteOffset"]
    values = np.frombuffer(content, "<u2", accessor["count"] * 4, start).reshape(-1, 4)
    stored = values[:, :3] / 65535
    assert mesh.vertex_colors is not None
    np.testing.assert_allclose(stored, srgb_to_linear(mesh.vertex_colors.numpy()), atol=0.006)


@pytest.mark.parametrize("ending", ["glb", "obj"])
def test_textures_come_back_the_right_way_up(tmp_path: Path, ending: str) -> None:
    mesh = textured_square()
    back = trimesh.load(write_mesh(mesh, tmp_path / f"square.{ending}"), force="mesh", process=False)
    image = np.asarray(back.visual.material.baseColorTexture if ending == "glb" else back.visual.material.image)
    assert mesh.texture is not None
    np.testing.assert_array_equal(image[PADDING:-PADDING, PADDING:-PADDING, :3], (mesh.texture * 255).numpy())
    # trimesh's own convention, in both formats, is (0, 0) at the bottom left.
    corner = int(np.argmin(np.linalg.norm(back.vertices - (-0.5, 0.5, 0), axis=1)))
    side = 2 + 2 * PADDING
    np.testing.assert_allclose(back.visual.uv[corner], (PADDING / side, (PADDING + 2) / side), atol=1e-6)


def test_a_texture_becomes_vertex_colors_in_ply(tmp_path: Path) -> None:
    back = trimesh.load(write_mesh(textured_square(), tmp_path / "square.ply"), process=False)
    assert len(back.visual.vertex_colors) == 4


def test_bilinear_texture_lookup_repeats() -> None:
    texture = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    uvs = np.array([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5], [0.0, 0.5], [1.75, -3.5]])
    np.testing.assert_allclose(sample_texture(texture, uvs)[:, 0], [0, 1, 0.5, 0.5, 1])


def test_scenes_keep_their_materials(tmp_path: Path) -> None:
    scene = two_material_scene()
    header = glb_header(encode_glb(scene))
    assert len(header["materials"]) == 2  # type: ignore[arg-type]
    assert len(header["images"]) == 1  # type: ignore[arg-type]
    write_mesh(scene, tmp_path / "chair.obj")
    assert (tmp_path / "chair.mtl").read_text().count("newmtl") == 2
    assert (tmp_path / "chair_0.png").exists()
    assert trimesh.load(tmp_path / "chair.obj", force="mesh").faces.shape == (24, 3)


def test_glb_is_aligned_and_counted() -> None:
    content = encode_glb(two_material_scene())
    magic, version, total = struct.unpack("<III", content[:12])
    assert (magic, version, total) == (0x46546C67, 2, len(content))
    header = glb_header(content)
    assert all(view["byteOffset"] % 4 == 0 for view in header["bufferViews"])  # type: ignore[attr-defined]
    assert header["buffers"][0]["byteLength"] % 4 == 0  # type: ignore[index]


def test_normals_of_a_sphere_point_outward() -> None:
    mesh = colored_sphere(3)
    normals = vertex_normals(mesh.vertices.numpy(), mesh.faces.numpy())
    np.testing.assert_allclose(normals, mesh.vertices.numpy() / 0.4, atol=0.02)


@pytest.mark.parametrize("max_faces", [2000, 500])
def test_thinning_keeps_the_shape(max_faces: int) -> None:
    (part,) = split_into_parts(colored_sphere(5))
    thinned = thin_out(part, max_faces)
    assert max_faces / 8 < len(thinned.indices) <= max_faces
    np.testing.assert_allclose(np.linalg.norm(thinned.positions, axis=1), 0.4, atol=0.03)
    assert thinned.colors is not None
    assert thinned.normals is not None
    assert thin_out(part, len(part.indices)) is part


@pytest.mark.parametrize(
    ("vertices", "faces", "message"),
    [
        (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64), "without faces"),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]]), "vertex 3 of 3"),
        (torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, float("nan"), 0]]), torch.tensor([[0, 1, 2]]), "not finite"),
    ],
)
def test_broken_meshes_are_refused(tmp_path: Path, vertices: torch.Tensor, faces: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_mesh(Mesh(vertices, faces), tmp_path / "x.glb")
    assert list(tmp_path.iterdir()) == []


def test_unknown_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\.glb, \.obj, \.ply"):
        write_mesh(colored_sphere(), tmp_path / "x.fbx")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "x.ply"
    place.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(DataError, match="No space left"):
        write_mesh(colored_sphere(), place)
    assert place.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.ply"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 2**31))
def test_any_triangle_soup_round_trips(tmp_path: Path, num_vertices: int, num_faces: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(num_vertices, 3)).astype(np.float32)
    faces = rng.integers(0, num_vertices, (num_faces, 3)).astype(np.int32)
    mesh = Mesh(torch.from_numpy(vertices), torch.from_numpy(faces))
    assert isinstance(Scene.from_mesh(mesh), Scene)
    back = trimesh.load(write_mesh(mesh, tmp_path / "soup.glb"), force="mesh", process=False)
    np.testing.assert_array_equal(np.asarray(back.vertices)[back.faces], vertices[faces])
