"""Soft rasterisation against PyTorch3D, the slow reference and finite differences, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering import kernel_threads, reference
from raylift.rendering.fragments import Fragments
from raylift.rendering.rasterize import rasterize
from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of
from tests.rendering.soft_meshes import MESHES, icosphere, screen_mesh, sphere_views

BLUR = blur_radius_of(1e-3)
PARTS = ("zbuf", "bary_coords", "dists")


def gradients(fragments: Fragments, screen: Tensor, at: Tensor | None = None) -> dict[str, Tensor]:
    """By part, the gradient of a fixed random combination of its values, of those fragments ``at`` is true for."""
    made = {}
    for seed, name in enumerate(PARTS):
        part = getattr(fragments, name)
        draw = torch.randn(part.shape, generator=torch.Generator().manual_seed(seed)).to(part)
        if at is not None:
            draw = draw * (at[..., None] if name == "bary_coords" else at)
        (made[name],) = torch.autograd.grad((part * draw).sum(), screen, retain_graph=True)
    return made


def within_horizon(fragments: Fragments, screen: Tensor, faces: Tensor) -> Tensor:
    """Where a pixel's ray meets the plane of the face in front of the camera."""
    corners = screen.detach().double()[0, faces][fragments.pix_to_face.clamp(min=0)]
    size = fragments.zbuf.shape[1]
    centers = (2 * torch.arange(size, dtype=torch.float64) + 1) / size - 1
    x, y = centers[None, None, :, None], centers[None, :, None, None]
    xs, ys, zs = (corners[..., axis] for axis in range(3))

    def weight(a: int, b: int) -> Tensor:
        return (x - xs[..., a]) * (ys[..., b] - ys[..., a]) - (y - ys[..., a]) * (xs[..., b] - xs[..., a])

    area = (xs[..., 2] - xs[..., 0]) * (ys[..., 1] - ys[..., 0]) - (ys[..., 2] - ys[..., 0]) * (xs[..., 1] - xs[..., 0])
    total = weight(1, 2) / zs[..., 0] + weight(2, 0) / zs[..., 1] + weight(0, 1) / zs[..., 2]
    return total * zs.prod(-1) / area > 1e-3


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize(("faces_per_pixel", "blur_radius"), [(1, 0.0), (6, 0.0), (6, BLUR), (60, BLUR)])
def test_same_as_pytorch3d(mesh: str, perspective: bool, faces_per_pixel: int, blur_radius: float) -> None:
    screen, faces = screen_mesh(mesh)
    screen.requires_grad_()
    size = 24 if faces_per_pixel < 60 else 12
    ours = rasterize_soft(screen, faces, size, faces_per_pixel, blur_radius, perspective)
    theirs = rasterize_soft_pytorch3d(screen, faces, size, faces_per_pixel, blur_radius, perspective)
    assert int((ours.pix_to_face >= 0).sum()) > 1
    assert torch.equal(ours.pix_to_face, theirs.pix_to_face)
    for name in PARTS:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-7)
    # Beyond a horizon its float32 gradient is noise: test_beyond_the_horizon says what ours is there.
    counted = within_horizon(ours, screen, faces) if perspective and blur_radius > 0 else None
    mine, expected = gradients(ours, screen, counted), gradients(theirs, screen, counted)
    for name in PARTS:
        assert float(expected[name].norm()) > 0
        assert float((mine[name] - expected[name]).norm()) <= 1e-5 * float(expected[name].norm()), name


@pytest.mark.parametrize("mesh", [mesh for mesh in MESHES if mesh != "degenerate"])
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize(("faces_per_pixel", "blur_radius"), [(1, 0.0), (40, BLUR)])
def test_same_as_the_reference(mesh: str, perspective: bool, faces_per_pixel: int, blur_radius: float) -> None:
    screen, faces = screen_mesh(mesh, 1)
    screen = screen.double().requires_grad_()
    ours = rasterize_soft(screen, faces, 16, faces_per_pixel, blur_radius, perspective)
    slow = reference.rasterize_soft(screen, faces, 16, faces_per_pixel, blur_radius, perspective)
    # Coincident faces differ by a rounding in depth, so their order is nobody's.
    if mesh != "coincident":
        assert torch.equal(ours.pix_to_face, slow.pix_to_face)
        for name in PARTS:
            torch.testing.assert_close(getattr(ours, name), getattr(slow, name), rtol=1e-7, atol=1e-9)
        mine, expected = gradients(ours, screen), gradients(slow, screen)
        for name in PARTS:
            assert float((mine[name] - expected[name]).norm()) <= 1e-7 * float(expected[name].norm()), name
    else:
        assert torch.equal(ours.pix_to_face >= 0, slow.pix_to_face >= 0)
        torch.testing.assert_close(ours.zbuf, slow.zbuf, rtol=1e-9, atol=1e-9)


def test_beyond_the_horizon() -> None:
    """There ours in float32 is what float64 says; PyTorch3D's is further off than the whole gradient is long."""
    screen, faces = screen_mesh("beyond")
    screen.requires_grad_()
    exact = screen.detach().double().requires_grad_()
    ours, truth = (rasterize_soft(mesh, faces, 24, 30, BLUR) for mesh in (screen, exact))
    theirs = rasterize_soft_pytorch3d(screen, faces, 24, 30, BLUR, True)
    assert torch.equal(ours.pix_to_face, truth.pix_to_face)
    beyond = (ours.pix_to_face >= 0) & ~within_horizon(ours, screen, faces)
    assert int(beyond.sum()) > 20
    expected = gradients(truth, exact, beyond)["zbuf"]
    scale = float(expected.norm())
    assert float((gradients(ours, screen, beyond)["zbuf"] - expected).norm()) <= 1e-3 * scale
    assert float((gradients(theirs, screen, beyond)["zbuf"] - expected).norm()) > scale


@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("blur_radius", [0.0, 0.05])
def test_gradients_are_derivatives(perspective: bool, blur_radius: float) -> None:
    screen, faces = sphere_views(perspective, 0)
    screen = screen[:1].double().requires_grad_()

    def fragments(screen: Tensor) -> tuple[Tensor, ...]:
        made = rasterize_soft(screen, faces, 5, 3, blur_radius, perspective)
        return made.zbuf, made.bary_coords, made.dists

    assert torch.autograd.gradcheck(fragments, (screen,), atol=1e-6)


def test_same_faces_as_the_hard_rasteriser() -> None:
    vertices, faces = icosphere(2)
    from raylift.geometry.cameras import orbit
    from raylift.rendering.screen import project_to_screen

    camera = orbit(20, 30)
    hard = rasterize(vertices, faces, camera, 32)
    soft = rasterize_soft(project_to_screen(vertices[None], camera), faces, 32, 1)
    assert (hard.pix_to_face != soft.pix_to_face).float().mean() < 2e-3
    same = hard.pix_to_face == soft.pix_to_face
    torch.testing.assert_close(hard.zbuf[same], soft.zbuf[same], rtol=1e-5, atol=1e-5)


def test_equal_depths_go_to_the_lower_index() -> None:
    triangle = torch.tensor([[-0.9, -0.85, 2.0], [0.9, -0.8, 2.0], [0.1, 0.9, 2.0]])
    screen = torch.cat([triangle + torch.tensor([0, 0, 0.5]), triangle, triangle])[None]
    layers = rasterize_soft(screen, torch.arange(9).reshape(3, 3), 16, 3).pix_to_face
    assert layers[layers[..., 0] >= 0].unique(dim=0).tolist() == [[1, 2, 0]]
    nearest = rasterize_soft(screen, torch.arange(9).reshape(3, 3), 16, 2).pix_to_face
    assert nearest[nearest[..., 0] >= 0].unique(dim=0).tolist() == [[1, 2]]


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = sphere_views()
    screen.requires_grad_()
    alone = rasterize_soft(screen, faces, 24, 4, BLUR)
    by_alone = gradients(alone, screen)
    monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda: 3)
    together = rasterize_soft(screen, faces, 24, 4, BLUR)
    by_together = gradients(together, screen)
    for name in PARTS:
        assert torch.equal(getattr(alone, name), getattr(together, name))
        assert torch.equal(by_alone[name], by_together[name])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30, -1e30])
def test_extreme_coordinates_neither_crash_nor_write_outside(bad: float) -> None:
    screen, faces = screen_mesh("soup")
    screen[0, ::7, 0] = bad
    screen[0, 1::11, 2] = bad
    for blur_radius in (0.0, BLUR):
        made = rasterize_soft(screen.requires_grad_(), faces, 16, 4, blur_radius)
        assert int(made.pix_to_face.max()) < len(faces)
        (made.zbuf.sum() + made.dists.sum()).backward()


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
    screen.requires_grad_()
    ours = rasterize_soft(screen, faces, 32, 4, blur_radius)
    on_gpu = screen.detach().cuda().requires_grad_()
    theirs = rasterize_soft(on_gpu, faces.cuda(), 32, 4, blur_radius)
    assert (ours.pix_to_face != theirs.pix_to_face.cpu()).float().mean() < 2e-3
    (mine,) = torch.autograd.grad(ours.dists.clamp(max=0).sum(), screen)
    (other,) = torch.autograd.grad(theirs.dists.clamp(max=0).sum(), on_gpu)
    assert float((mine - other.cpu()).norm()) <= 1e-2 * float(mine.norm())
