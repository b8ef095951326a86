"""UV fragments against closed forms, the z-buffer, and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.cameras import (
    fibonacci_directions,
    orbit,
    orbit_views,
    orthographic_views,
    pixel_centers,
    unproject,
)
from raylift.rendering.uv_fragments import UvFragments, ray_weights, uv_fragments
from tests.rendering.nearest_faces import nearest_faces

PROJECTIONS = ("perspective", "orthographic")


def cameras(projection: str, count: int = 3) -> Camera:
    """Off-centre, with oblong pixels."""
    views = orbit_views(count) if projection == "perspective" else orthographic_views(fibonacci_directions(count), 0.7)
    return replace(views, principal=views.principal + 0.113, focal=views.focal * torch.tensor([1.0, 1.2]))


def icosphere(subdivisions: int = 2, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices, faces and random UVs of corners."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    faces = torch.tensor(mesh.faces)
    uvs = torch.rand(len(faces), 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return torch.tensor(mesh.vertices, dtype=dtype), faces, uvs.to(dtype)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_it_interpolates_the_surface_point_of_each_pixel(projection: str) -> None:
    """With corners' world x and y as UVs, a pixel's UV is x and y of the point it shows."""
    vertices, faces, _ = icosphere()
    camera = cameras(projection)
    for kept in ((0, 1), (1, 2)):
        found = uv_fragments(vertices[None], faces, vertices[faces][..., kept], camera, 24)
        pixels = pixel_centers(24, 24).reshape(1, -1, 2).expand(3, -1, -1)
        points = unproject(camera, pixels, found.depth.flatten(1)).reshape(3, 24, 24, 3)
        assert found.mask.float().mean() > 0.1
        torch.testing.assert_close(found.uv[found.mask], points[found.mask][:, kept], rtol=0, atol=1e-6)
    assert float(found.uv[~found.mask].abs().max()) == float(found.depth[~found.mask].abs().max()) == 0


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_it_shows_the_nearest_faces(projection: str) -> None:
    vertices, faces, uvs = icosphere()
    camera = cameras(projection)
    found = uv_fragments(vertices[None], faces, uvs, camera, 32)
    nearest = nearest_faces(vertices, faces, camera, 32)
    assert torch.equal(found.face, nearest.face)
    assert torch.equal(found.mask, nearest.face >= 0)
    torch.testing.assert_close(found.depth[found.mask], nearest.depth[found.mask], rtol=0, atol=1e-6)


def test_each_camera_sees_its_own_mesh() -> None:
    vertices, faces, uvs = icosphere()
    camera = cameras("perspective")
    meshes = torch.stack([vertices * size for size in (1.0, 0.7, 0.4)])
    together = uv_fragments(meshes, faces, uvs, camera, 24)
    for index in range(3):
        alone = uv_fragments(meshes[index : index + 1], faces, uvs, camera[index], 24)
        for name, value in vars(alone).items():
            assert torch.equal(value[0], vars(together)[name][index]), name
    sizes = together.mask.sum(dim=(1, 2))
    assert sizes[0] > sizes[1] > sizes[2] > 0


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_gradients_to_vertices_uvs_and_cameras(projection: str) -> None:
    vertices, faces, uvs = icosphere(1, torch.float64)
    vertices = vertices + 0.03 * torch.randn(vertices.shape, generator=torch.Generator().manual_seed(1)).double()
    camera = cameras(projection, 2).to("cpu", torch.float64)
    leaves = [vertices[None], uvs, camera.focal, camera.principal, camera.rotation, camera.translation]
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]

    def values(positions: Tensor, corners: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        found = uv_fragments(positions, faces, corners, Camera(*parts, camera.projection), 9)
        assert int(found.mask.sum()) > 20
        return found.uv, found.depth

    assert torch.autograd.gradcheck(values, leaves, eps=1e-7, atol=1e-5, fast_mode=True)
    gradients = torch.autograd.grad(sum(part.square().sum() for part in values(*leaves)), leaves)
    assert all(float(gradient.abs().max()) > 1e-3 for gradient in gradients)


def test_a_face_through_the_near_plane_keeps_its_coordinates() -> None:
    """A floor that passes under the camera: its far part is seen, and interpolated over the whole of the face."""
    vertices = torch.tensor([[[-9.0, 0.5, -5.0], [9.0, 0.5, -5.0], [0.0, 0.5, 20.0]]])
    camera = Camera(torch.ones(1, 2), torch.zeros(1, 2), torch.eye(3)[None], torch.zeros(1, 3))
    faces = torch.tensor([[0, 1, 2]])
    found = uv_fragments(vertices, faces, vertices[:, :, [0, 2]], camera, 16)
    points = unproject(camera, pixel_centers(16, 16).reshape(1, -1, 2), found.depth.flatten(1)).reshape(1, 16, 16, 3)
    assert int(found.mask.sum()) > 20
    torch.testing.assert_close(found.uv[found.mask], points[found.mask][:, [0, 2]], rtol=1e-5, atol=1e-5)


def test_weights_of_a_face_seen_from_its_edge_do_not_exist() -> None:
    corners = torch.tensor([[[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [2.0, 0.0, 2.0]], [[0.0, 0, 1], [1, 0, 1], [0, 1, 1]]])
    weights, exist = ray_weights(corners, torch.tensor([[0.5, 0.0], [0.25, 0.25]]), True)
    assert exist.tolist() == [False, True]
    torch.testing.assert_close(weights[1], torch.tensor([0.5, 0.25, 0.25]))
    assert bool(torch.isfinite(weights).all())


def test_coordinates_stay_in_full_precision_under_autocast() -> None:
    vertices, faces, uvs = icosphere()
    expected = uv_fragments(vertices[None], faces, uvs, orbit(20, 30), 24)
    with torch.autocast("cpu", torch.bfloat16):
        found = uv_fragments(vertices[None], faces, uvs, orbit(20, 30), 24)
    assert found.uv.dtype == torch.float32
    assert torch.equal(found.uv, expected.uv)
    assert uv_fragments(vertices[None].bfloat16(), faces, uvs, orbit(20, 30), 24).uv.dtype == torch.float32


def test_the_same_for_any_number_of_threads() -> None:
    vertices, faces, uvs = icosphere()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(uv_fragments(vertices[None], faces, uvs, orbit_views(5), 24))
    torch.set_num_threads(1)
    assert all(torch.equal(vars(results[0])[name], vars(results[1])[name]) for name in vars(results[0]))


def test_nothing_to_see() -> None:
    vertices, faces, uvs = icosphere()
    behind = replace(orbit(0, 0), translation=torch.tensor([[0.0, 0.0, -3.0]]))
    for found in (
        uv_fragments(vertices[None], faces, uvs, behind, 8),
        uv_fragments(vertices[None], faces[:0], uvs[:0], orbit(0, 0), 8),
    ):
        assert isinstance(found, UvFragments)
        assert not found.mask.any()
        assert (found.face == -1).all()


def test_bad_input_is_refused() -> None:
    vertices, faces, uvs = icosphere()
    with pytest.raises(DataError, match="2 meshes do not fit 3 cameras"):
        uv_fragments(vertices.expand(2, -1, -1), faces, uvs, orbit_views(3), 8)
    with pytest.raises(DataError, match="refer to vert"):
        uv_fragments(vertices[None, :-1].expand(3, -1, -1), faces, uvs, orbit_views(3), 8)
    with pytest.raises(DataError, match="do not fit 320 faces"):
        uv_fragments(vertices[None], faces, uvs[:5], orbit(0, 0), 8)
    with pytest.raises(DataError, match="not finite"):
        uv_fragments(vertices[None] * np.inf, faces, uvs, orbit(0, 0), 8)
    with pytest.raises(DataError, match="not finite"):
        uv_fragments(vertices[None], faces, uvs, replace(orbit(0, 0), focal=torch.full((1, 2), np.nan)), 8)
    with pytest.raises(DataError, match="pixels per side"):
        uv_fragments(vertices[None], faces, uvs, orbit(0, 0), 0)


@pytest.mark.gpu
def test_a_gpu_shows_the_same() -> None:
    vertices, faces, uvs = icosphere()
    expected = uv_fragments(vertices[None], faces, uvs, orbit_views(3), 32)
    found = uv_fragments(vertices[None].cuda(), faces.cuda(), uvs.cuda(), orbit_views(3).to("cuda"), 32)
    same = found.face.cpu() == expected.face
    assert float(same.float().mean()) > 0.998
    torch.testing.assert_close(found.uv.cpu()[same], expected.uv[same], rtol=0, atol=1e-6)
