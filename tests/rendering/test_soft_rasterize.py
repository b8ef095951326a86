"""Soft rasterisation against PyTorch3D and the slow reference."""

from __future__ import annotations

import pytest
import torch

from raylift.core import kernel_threads
from raylift.core.errors import DataError
from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of
from tests.reference import soft_rendering as reference
from tests.rendering.nearest_faces import nearest_faces
from tests.rendering.soft_meshes import MESHES, icosphere, screen_mesh, sphere_views

BLUR = blur_radius_of(1e-3)
PARTS = ("zbuf", "bary_coords", "dists")


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize(("faces_per_pixel", "blur_radius"), [(1, 0.0), (6, 0.0), (6, BLUR), (60, BLUR)])
def test_same_as_pytorch3d(mesh: str, perspective: bool, faces_per_pixel: int, blur_radius: float) -> None:
    screen, faces = screen_mesh(mesh)
    size = 24 if faces_per_pixel < 60 else 12
    ours = rasterize_soft(screen, faces, size, faces_per_pixel, blur_radius, perspective)
    theirs = rasterize_soft_pytorch3d(screen, faces, size, faces_per_pixel, blur_radius, perspective)
    assert int((ours.pix_to_face >= 0).sum()) > 1
    assert torch.equal(ours.pix_to_face, theirs.pix_to_face)
    for name in PARTS:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mesh", [mesh for mesh in MESHES if mesh != "degenerate"])
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize(("faces_per_pixel", "blur_radius"), [(1, 0.0), (40, BLUR)])
def test_same_as_the_reference(mesh: str, perspective: bool, faces_per_pixel: int, blur_radius: float) -> None:
    screen, faces = screen_mesh(mesh, 1)
    screen = screen.double()
    ours = rasterize_soft(screen, faces, 16, faces_per_pixel, blur_radius, perspective)
    slow = reference.rasterize_soft(screen, faces, 16, faces_per_pixel, blur_radius, perspective)
    # Coincident faces differ by a rounding in depth, so their order is nobody's.
    if mesh != "coincident":
        assert torch.equal(ours.pix_to_face, slow.pix_to_face)
        for name in PARTS:
            torch.testing.assert_close(getattr(ours, name), getattr(slow, name), rtol=1e-7, atol=1e-9)
    else:
        assert torch.equal(ours.pix_to_face >= 0, slow.pix_to_face >= 0)
        torch.testing.assert_close(ours.zbuf, slow.zbuf, rtol=1e-9, atol=1e-9)


def test_same_faces_as_the_hard_rasteriser() -> None:
    vertices, faces = icosphere(2)
    from raylift.geometry.cameras import orbit
    from raylift.rendering.screen import project_to_screen

    camera = orbit(20, 30)
    hard = nearest_faces(vertices, faces, camera, 32)
    soft = rasterize_soft(project_to_screen(vertices[None], camera), faces, 32, 1)
    same = hard.face == soft.pix_to_face[..., 0]
    assert (~same).float().mean() < 2e-3
    torch.testing.assert_close(hard.depth[same], soft.zbuf[..., 0][same], rtol=1e-5, atol=1e-5)


def test_equal_depths_go_to_the_lower_index() -> None:
    triangle = torch.tensor([[-0.9, -0.85, 2.0], [0.9, -0.8, 2.0], [0.1, 0.9, 2.0]])
    screen = torch.cat([triangle + torch.tensor([0, 0, 0.5]), triangle, triangle])[None]
    layers = rasterize_soft(screen, torch.arange(9).reshape(3, 3), 16, 3).pix_to_face
    assert layers[layers[..., 0] >= 0].unique(dim=0).tolist() == [[1, 2, 0]]
    nearest = rasterize_soft(screen, torch.arange(9).reshape(3, 3), 16, 2).pix_to_face
    assert nearest[nearest[..., 0] >= 0].unique(dim=0).tolist() == [[1, 2]]


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = sphere_views()
    alone = rasterize_soft(screen, faces, 24, 4, BLUR)
    monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda: 3)
    together = rasterize_soft(screen, faces, 24, 4, BLUR)
    for name in PARTS:
        assert torch.equal(getattr(alone, name), getattr(together, name))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30, -1e30])
def test_extreme_coordinates_neither_crash_nor_write_outside(bad: float) -> None:
    screen, faces = screen_mesh("soup")
    screen[0, ::7, 0] = bad
    screen[0, 1::11, 2] = bad
    for blur_radius in (0.0, BLUR):
        made = rasterize_soft(screen, faces, 16, 4, blur_radius)
        assert int(made.pix_to_face.max()) < len(faces)


def test_no_faces_give_padding() -> None:
    made = rasterize_soft(torch.zeros(2, 3, 3), torch.zeros(0, 3, dtype=torch.int64), 8, 2, BLUR)
    assert made.bary_coords.shape == (2, 8, 8, 2, 3)
    assert all(bool((getattr(made, name) == -1).all()) for name in ("pix_to_face", *PARTS))


def test_settings_that_cannot_be_meant() -> None:
    screen, faces = screen_mesh("soup")
    with pytest.raises(DataError, match="faces_per_pixel"):
        rasterize_soft(screen, faces, 8, 0)
    with pytest.raises(DataError, match="blur_radius"):
        rasterize_soft(screen, faces, 8, 1, float("nan"))
    with pytest.raises(DataError, match="-1..88"):
        rasterize_soft(screen, faces - 1, 8)


@pytest.mark.gpu
@pytest.mark.parametrize("blur_radius", [0.0, BLUR])
def test_the_gpu_gives_the_same_fragments(blur_radius: float) -> None:
    screen, faces = sphere_views()
    ours = rasterize_soft(screen, faces, 32, 4, blur_radius)
    theirs = rasterize_soft(screen.cuda(), faces.cuda(), 32, 4, blur_radius)
    assert (ours.pix_to_face != theirs.pix_to_face.cpu()).float().mean() < 2e-3
