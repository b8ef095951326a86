"""Charts that do not overlap, and textures that look like the function they were baked from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation

from raylift.core.errors import DataError
from raylift.core.types import Field, Mesh
from raylift.export.mesh_files import encode_glb
from raylift.export.parts import split_into_parts
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from raylift.texturing.bake import bake, field_colors
from raylift.texturing.texels import find_texels
from raylift.texturing.unwrap import unwrap
from tests.export.gltf_structure import Glb
from tests.texturing.surfaces import cube, ellipsoid, six_sides, smooth_color

SHAPES = {"ellipsoid": ellipsoid(), "cube": cube()}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_charts_hold_every_face_once(name: str) -> None:
    mesh = SHAPES[name]
    uvs = unwrap(mesh, 128).corner_uvs.double()
    assert uvs.shape == (len(mesh.faces), 3, 2)
    assert uvs.min() >= 0
    assert uvs.max() <= 1
    first, second = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    areas = (first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).abs() / 2
    assert (areas > 1e-6).all()
    # A point well inside of a face is in no other face.
    inner = uvs.mean(1)
    edges = uvs[None].roll(-1, 2) - uvs[None]
    offsets = inner[:, None, None] - uvs[None]
    sides = edges[..., 0] * offsets[..., 1] - edges[..., 1] * offsets[..., 0]
    holds = (sides > 0).all(-1) | (sides < 0).all(-1)
    assert (holds == torch.eye(len(uvs), dtype=torch.bool)).all()
    world = mesh.vertices[mesh.faces].double()
    true_areas = torch.linalg.cross(world[:, 1] - world[:, 0], world[:, 2] - world[:, 0]).norm(dim=1) / 2
    stretch = (areas / areas.sum()) / (true_areas / true_areas.sum())
    assert stretch.min() > 0.5
    assert stretch.max() < 2


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_a_baked_mesh_looks_like_its_function_from_six_sides(name: str) -> None:
    mesh = SHAPES[name]
    baked = bake(mesh, smooth_color, 256)
    assert baked.vertex_colors is None
    assert baked.texture is not None
    assert baked.texture.shape == (256, 256, 3)
    truth = Mesh(mesh.vertices, mesh.faces, vertex_colors=smooth_color(mesh.vertices))
    light = Lighting.ambient()
    for seen, true in zip(render(baked, six_sides(), 64, light), render(truth, six_sides(), 64, light), strict=True):
        assert np.abs(seen.rgb - true.rgb).max() < 0.05
        assert np.abs(seen.rgb - true.rgb).mean() < 0.003


def test_texels_are_at_their_points() -> None:
    mesh = ellipsoid()
    texels = find_texels(unwrap(mesh, 128).corner_uvs, 128)
    points = texels.interpolate(mesh.vertices[mesh.faces])
    assert 0.3 < len(points) / 128**2 <= 1
    distance = (points / torch.tensor([0.5, 0.35, 0.3])).norm(dim=1)
    assert distance.min() > 0.97  # on the mesh, which is inside of the ellipsoid by the sagitta of its faces
    assert distance.max() < 1 + 1e-5
    assert torch.allclose(texels.weights.sum(1), torch.ones(len(points)), atol=1e-5)
    assert texels.weights.min() > -1e-5


def test_seams_are_padded() -> None:
    """Around every chart there is a rim of its own colours, and no texel is left without one."""
    mesh = ellipsoid()
    uvs = unwrap(mesh, 128).corner_uvs
    texels = find_texels(uvs, 128)
    inside = torch.zeros(128 * 128)
    inside[texels.index] = texels.is_inside
    shown = inside.reshape(128, 128).numpy() > 0
    read = torch.zeros(128 * 128, dtype=torch.bool)
    read[texels.index] = True
    rim = binary_dilation(shown, np.ones((3, 3), bool))
    assert (read.reshape(128, 128).numpy() >= rim).all()
    texture = texels.paint(torch.full((len(texels.index), 3), 0.7))
    assert (texture == 0.7).all()


def test_a_mesh_keeps_its_own_colours() -> None:
    mesh = ellipsoid()
    colored = Mesh(mesh.vertices, mesh.faces, vertex_colors=smooth_color(mesh.vertices))
    by_function, by_vertex = bake(mesh, smooth_color, 128), bake(colored, None, 128)
    again = bake(by_vertex, None, 128)
    assert by_function.texture is not None
    assert by_vertex.texture is not None
    assert again.texture is not None
    assert (by_function.texture - by_vertex.texture).abs().max() < 0.01
    assert (again.texture - by_vertex.texture).abs().max() < 0.08  # at seams, half a texel away
    assert (again.texture - by_vertex.texture).abs().mean() < 0.005
    plain = bake(mesh, None, 32)
    assert plain.texture is not None
    assert plain.texture.unique().numel() == 1


def test_a_field_bakes_its_colours() -> None:
    field = Field(lambda points: (points.norm(dim=1) - 0.3, smooth_color(points)))
    points = torch.rand(7, 3) - 0.5
    assert torch.equal(field_colors(field)(points), smooth_color(points))


def test_a_baked_mesh_is_a_valid_file() -> None:
    baked = bake(ellipsoid(2), smooth_color, 64)
    assert Glb(encode_glb(baked)).problems == []
    (part,) = split_into_parts(baked)
    assert part.texture is not None


def test_what_cannot_be_baked_is_refused() -> None:
    mesh = ellipsoid(1)
    with pytest.raises(DataError, match="without faces"):
        bake(Mesh(mesh.vertices, mesh.faces[:0]), smooth_color, 64)
    with pytest.raises(DataError, match="texels per side"):
        bake(mesh, smooth_color, 4)
    with pytest.raises(DataError, match="not finite"):
        bake(Mesh(mesh.vertices * float("nan"), mesh.faces), smooth_color, 64)
