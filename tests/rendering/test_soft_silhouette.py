"""The fused silhouette against the slow reference, PyTorch3D, finite differences and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from raylift.core import kernel_threads
from raylift.core.errors import DataError
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_pytorch3d import silhouette_pytorch3d
from raylift.rendering.soft_silhouette import blur_radius_of, soft_silhouette
from tests.reference import soft_rendering as reference
from tests.rendering.soft_meshes import MESHES, screen_mesh, sphere_views


def with_gradient(silhouette: Tensor, screen: Tensor) -> tuple[Tensor, Tensor]:
    """The silhouette and the gradient of a fixed random combination of its pixels."""
    draw = torch.randn(silhouette.shape, generator=torch.Generator().manual_seed(7)).to(silhouette)
    (gradient,) = torch.autograd.grad((silhouette * draw).sum(), screen)
    return silhouette.detach(), gradient


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("sigma", [1e-4, 3e-3])
def test_same_as_the_reference(mesh: str, sigma: float) -> None:
    screen, faces = screen_mesh(mesh)
    screen = screen.double().requires_grad_()
    radius = blur_radius_of(sigma)
    ours, gradient = with_gradient(soft_silhouette(screen, faces, 20, sigma), screen)
    slow, expected = with_gradient(reference.soft_silhouette(screen, faces, 20, sigma, radius), screen)
    assert 0.02 < float(slow.mean()) < 1
    torch.testing.assert_close(ours, slow, rtol=0, atol=1e-12)
    # An edge that counts as a point is moved by its foot, as PyTorch3D does; autograd moves its second corner.
    tolerance = 0.05 if mesh == "degenerate" else 1e-9
    assert float((gradient - expected).norm()) <= tolerance * float(expected.norm())


@pytest.mark.parametrize("mesh", MESHES)
@pytest.mark.parametrize("seed", [0, 1])
def test_same_as_pytorch3d(mesh: str, seed: int) -> None:
    screen, faces = screen_mesh(mesh, seed)
    screen.requires_grad_()
    sigma = 1e-3
    ours, gradient = with_gradient(soft_silhouette(screen, faces, 24, sigma), screen)
    theirs, expected = with_gradient(silhouette_pytorch3d(screen, faces, 24, sigma, blur_radius_of(sigma), 60), screen)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert float(expected.norm()) > 1
    assert float((gradient - expected).norm()) <= 1e-5 * float(expected.norm())


@pytest.mark.parametrize("perspective", [True, False])
def test_gradients_are_derivatives(perspective: bool) -> None:
    screen, faces = sphere_views(perspective, 0)
    screen = screen.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: soft_silhouette(s, faces, 6, 0.02), (screen,), atol=1e-6)


def test_one_triangle_in_closed_form() -> None:
    screen = torch.tensor([[[-0.8, -0.8, 1.0], [0.8, -0.8, 1.5], [-0.8, 0.8, 2.0]]], dtype=torch.float64)
    sigma, column, row = 0.01, 5, 6
    soft = soft_silhouette(screen, torch.tensor([[0, 1, 2]]), 20, sigma)[0]
    x, y = (2 * column + 1) / 20 - 1, (2 * row + 1) / 20 - 1
    to_edges = min(x + 0.8, y + 0.8, abs(x + y) / math.sqrt(2))
    assert soft[row, column].item() == pytest.approx(1 / (1 + math.exp(-(to_edges**2) / sigma)), abs=1e-12)
    # Outside of the corner (-0.8, -0.8), whose distance is that to the corner.
    distance = 2 * (0.95 - 0.8) ** 2
    assert soft[0, 0].item() == pytest.approx(1 / (1 + math.exp(distance / sigma)), abs=1e-12)
    assert soft[19, 19].item() == 0


def test_faces_multiply() -> None:
    """The same face n times lets through the n-th power, in the gradient as well."""
    screen, _ = screen_mesh("soup")
    screen = screen.double().requires_grad_()
    face = torch.tensor([[0, 1, 2]])
    once, by_once = with_gradient((1 - soft_silhouette(screen, face, 16, 0.01)) ** 3, screen)
    thrice, by_thrice = with_gradient(1 - soft_silhouette(screen, face.expand(3, 3), 16, 0.01), screen)
    torch.testing.assert_close(once, thrice)
    torch.testing.assert_close(by_once, by_thrice)


def test_gradients_pull_the_edge_outwards() -> None:
    """Asked for more coverage, a triangle grows: every corner moves away from the centre; depth does not move."""
    corners = torch.tensor([[[0.0, -0.5, 2.0], [0.5, 0.4, 2.0], [-0.5, 0.4, 2.0]]], requires_grad=True)
    soft_silhouette(corners, torch.tensor([[0, 1, 2]]), 32, 1e-3).sum().backward()
    assert corners.grad is not None
    assert bool(((corners.grad * (corners - corners.mean(1)).detach())[..., :2].sum(-1) > 0).all())
    assert bool((corners.grad[..., 2] == 0).all())


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = sphere_views()
    screen.requires_grad_()
    alone = with_gradient(soft_silhouette(screen, faces, 40), screen)
    monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda: 3)
    for _ in range(3):
        together = with_gradient(soft_silhouette(screen, faces, 40), screen)
        assert torch.equal(alone[0], together[0])
        assert torch.equal(alone[1], together[1])


def test_images_of_a_batch_do_not_mix() -> None:
    screen, faces = sphere_views()
    both = soft_silhouette(screen, faces, 24)
    for index in range(2):
        assert torch.equal(both[index : index + 1], soft_silhouette(screen[index : index + 1], faces, 24))


def test_gradients_reach_shape_and_camera() -> None:
    from raylift.geometry.cameras import orbit
    from tests.rendering.soft_meshes import icosphere

    vertices, faces = icosphere(1)
    camera = orbit(20, 30)
    leaves = [vertices.requires_grad_(), camera.translation.requires_grad_(), camera.focal.requires_grad_()]
    soft_silhouette(project_to_screen(vertices[None], camera), faces, 24).sum().backward()
    translation = camera.translation.grad
    assert all(leaf.grad is not None and bool(torch.isfinite(leaf.grad).all()) for leaf in leaves)
    # A camera that backs off sees less; a longer lens sees more.
    assert translation is not None
    assert translation[0, 2] < 0
    assert camera.focal.grad is not None
    assert bool((camera.focal.grad > 0).all())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_vertices_that_are_no_numbers_harm_nobody_else(bad: float) -> None:
    screen, faces = screen_mesh("soup")
    good = soft_silhouette(screen, faces[1:], 16, 1e-3)
    screen[0, 0] = bad
    assert bool(torch.isfinite(soft_silhouette(screen, faces, 16, 1e-3)).all())
    if not math.isfinite(bad):
        torch.testing.assert_close(soft_silhouette(screen, faces, 16, 1e-3), good)


def test_no_faces_cover_nothing() -> None:
    screen = torch.zeros(2, 4, 3, requires_grad=True)
    empty = soft_silhouette(screen, torch.zeros(0, 3, dtype=torch.int64), 8)
    assert empty.shape == (2, 8, 8)
    empty.sum().backward()
    assert bool((empty == 0).all())
    assert bool((screen.grad == 0).all())


def test_the_blur_radius_is_where_coverage_fades() -> None:
    radius = torch.tensor(blur_radius_of(3e-4, 1e-3), dtype=torch.float64)
    assert logsigmoid(-radius / 3e-4).exp().item() == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"sigma": 0.0}, "sigma"), ({"sigma": math.nan}, "sigma"), ({"blur_radius": -1.0}, "blur"), ({"px": 0}, "pixels")],
)
def test_settings_that_cannot_be_meant(settings: dict[str, float], word: str) -> None:
    screen, faces = screen_mesh("soup")
    with pytest.raises(DataError, match=word):
        soft_silhouette(screen, faces, int(settings.pop("px", 8)), **settings)
    with pytest.raises(DataError, match="1..90"):
        soft_silhouette(screen, faces + 1, 8)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_silhouette() -> None:
    screen, faces = sphere_views()
    screen.requires_grad_()
    ours = with_gradient(soft_silhouette(screen, faces, 32), screen)
    on_gpu = screen.detach().cuda().requires_grad_()
    draw = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(7)).cuda()
    theirs = soft_silhouette(on_gpu, faces.cuda(), 32)
    (gradient,) = torch.autograd.grad((theirs * draw).sum(), on_gpu)
    torch.testing.assert_close(ours[0], theirs.detach().cpu(), rtol=0, atol=1e-4)
    assert float((ours[1] - gradient.cpu()).norm()) <= 1e-3 * float(ours[1].norm())
