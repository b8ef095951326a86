"""Soft pictures against PyTorch3D, the slow reference, torch's own sampling, and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from raylift.core import kernel_threads
from raylift.core.errors import ConfigError, DataError
from raylift.geometry.cameras import orbit, pixel_centers
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_blend import SoftBlend, blend_weights, face_pixel_sums
from raylift.rendering.soft_fragments import FragmentFaces
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of
from raylift.rendering.soft_view import SoftView
from tests.reference import soft_rendering as reference
from tests.rendering.soft_meshes import MESHES, icosphere, screen_mesh, sphere_views

SOFT = SoftBlend(sigma=1e-3, gamma=3e-3, near=0.5, far=4.0)
BACKGROUND = (0.2, 0.5, 0.9)


def textured(seed: int, num_faces: int, texels: int = 7) -> tuple[Tensor, Tensor]:
    """Random corners in the texture, some outside of it, and a random texture."""
    generator = torch.Generator().manual_seed(seed)
    uvs = 1.2 * torch.rand(num_faces, 3, 2, generator=generator) - 0.1
    return uvs, torch.rand(1, 3, texels, texels + 2, generator=generator)


def slow_picture(
    view: SoftView, uvs: Tensor, texture: Tensor, layers: int, perspective: bool, soft: SoftBlend
) -> Tensor:
    """The same picture of 16 pixels by the reference alone."""
    radius = blur_radius_of(soft.sigma)
    fragments = reference.rasterize_soft(view.screen, view.faces, 16, layers, radius, perspective)
    colors = reference.texture_colors(fragments, uvs, texture)
    behind = torch.tensor(BACKGROUND, dtype=view.screen.dtype)
    return reference.blend(fragments, colors, behind, soft.sigma, soft.gamma, soft.near, soft.far, soft.background_eps)


def by_pytorch3d(
    screen: Tensor, faces: Tensor, image_px: int, layers: int, soft: SoftBlend, perspective: bool = True
) -> SoftView:
    """The view that a GPU has."""
    view = SoftView(screen, faces, image_px, layers, soft, perspective)
    view.source = FragmentFaces(screen, faces, image_px, layers, soft, perspective)
    return view


def with_gradients(picture: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    draw = torch.randn(picture.shape, generator=torch.Generator().manual_seed(3)).to(picture)
    return list(torch.autograd.grad((picture * draw).sum(), leaves, retain_graph=True))


def distance(ours: Tensor, expected: Tensor) -> float:
    return float((ours - expected).norm() / expected.norm())


@pytest.mark.parametrize("mesh", [mesh for mesh in MESHES if mesh != "coincident"])
@pytest.mark.parametrize("perspective", [True, False])
@pytest.mark.parametrize("layers", [2, 12])
@pytest.mark.parametrize("gamma", [3e-3, 0.3])
def test_same_as_the_reference(mesh: str, perspective: bool, layers: int, gamma: float) -> None:
    """With the larger gamma the background's exponential is not held."""
    soft = SoftBlend(sigma=1e-3, gamma=gamma, near=0.5, far=4.0)
    screen, faces = screen_mesh(mesh)
    uvs, texture = textured(1, len(faces))
    leaves = [screen.double().requires_grad_(), texture.double().requires_grad_()]
    view = SoftView(leaves[0], faces, 16, layers, soft, perspective)
    ours = view.texture(uvs.double(), leaves[1], BACKGROUND)
    slow = slow_picture(view, uvs.double(), leaves[1], layers, perspective, soft)
    assert float(slow.detach().std()) > 0.02
    torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)
    # An edge that counts as a point is moved by its foot, as PyTorch3D does; autograd moves its second corner.
    tolerance = 0.05 if mesh == "degenerate" else 1e-7
    mine, expected = with_gradients(ours, leaves), with_gradients(slow, leaves)
    assert float(expected[0].norm()) > 0.1
    assert distance(mine[0], expected[0]) <= tolerance
    assert distance(mine[1], expected[1]) <= 1e-7


@pytest.mark.parametrize("mesh", ["sphere", "soup", "behind", "border"])
@pytest.mark.parametrize("perspective", [True, False])
def test_same_as_by_pytorch3d(mesh: str, perspective: bool) -> None:
    """Textures, values of vertices and of corners, in float32, and gradients.

    In perspective, its gradient of the screen is noise where a face's blur reaches beyond the horizon of its plane.
    """
    screen, faces = screen_mesh(mesh)
    uvs, texture = textured(5, len(faces))
    values = torch.rand(1, screen.shape[1], 2, generator=torch.Generator().manual_seed(6))
    leaves = [screen.requires_grad_(), texture.requires_grad_(), values.requires_grad_()]
    made = []
    for build in (SoftView, by_pytorch3d):
        view = build(screen, faces, 24, 6, SOFT, perspective)
        corners = view.corners(values[:, faces].square(), (0.1, 0.7))
        pictures = torch.cat([view.texture(uvs, texture, BACKGROUND), view.vertices(values), corners], dim=1)
        gradients = with_gradients(pictures, leaves)[1 if perspective else 0 :]
        made.append([pictures.detach(), *gradients, view.nearest_faces.float(), *view.face_sums()])
    for ours, theirs in zip(*made, strict=True):
        assert float(theirs.norm()) > 0.1
        assert distance(ours, theirs) <= 1e-4


def test_small_gammas_are_no_less_exact_than_by_pytorch3d() -> None:
    """It rounds depths to shares of far - near before it divides by gamma; float64 says who is right."""
    screen, faces = sphere_views()
    uvs, texture = textured(5, len(faces))
    soft = SoftBlend(sigma=1e-3, gamma=1e-4)
    errors = []
    truth = SoftView(screen.double().requires_grad_(), faces, 24, 8, soft)
    exact = truth.texture(uvs.double(), texture.double())
    (expected,) = with_gradients(exact, [truth.screen])
    exact = exact.detach()
    for build in (SoftView, by_pytorch3d):
        view = build(screen.clone().requires_grad_(), faces, 24, 8, soft)
        picture = view.texture(uvs, texture)
        (gradient,) = with_gradients(picture, [view.screen])
        errors.append((distance(picture.detach().double(), exact), distance(gradient.double(), expected)))
    assert errors[0][0] < 1e-4
    assert errors[0][1] < 1e-3
    assert errors[0][0] < errors[1][0]
    assert errors[0][1] < errors[1][1]


def test_beyond_the_horizon() -> None:
    """There PyTorch3D's gradient in float32 is noise that can outweigh all else; ours is what float64 says."""
    screen, faces = screen_mesh("beyond")
    uvs, texture = textured(5, len(faces))
    exact = screen.double().requires_grad_()
    (expected,) = with_gradients(SoftView(exact, faces, 24, 30, SOFT).texture(uvs.double(), texture.double()), [exact])
    made = []
    for build in (SoftView, by_pytorch3d):
        leaf = screen.clone().requires_grad_()
        made += with_gradients(build(leaf, faces, 24, 30, SOFT).texture(uvs, texture), [leaf])
    assert distance(made[0].double(), expected) < 1e-2
    assert distance(made[1].double(), expected) > 1


def test_gradients_of_textures_are_derivatives() -> None:
    screen, faces = sphere_views(True, 0)
    uvs, texture = textured(2, len(faces), 3)
    leaves = (screen[:1].double().requires_grad_(), texture.double().requires_grad_())
    soft = SoftBlend(sigma=0.02, gamma=0.1, near=1.0, far=4.0)

    def picture(screen: Tensor, texture: Tensor) -> Tensor:
        return SoftView(screen, faces, 4, 20, soft).texture(uvs.double(), texture, BACKGROUND)

    assert torch.autograd.gradcheck(picture, leaves, atol=1e-6)


def test_a_picture_may_leave_the_screen_alone() -> None:
    """The same picture, and the same gradient of the texture; another tensor gets the screen's part, or none does."""
    screen, faces = sphere_views(True, 0)
    uvs, texture = textured(2, len(faces), 3)
    leaves = (screen.double().requires_grad_(), texture.double().requires_grad_())
    view = SoftView(leaves[0], faces, 8, 4, SOFT)
    other = leaves[0].detach().clone().requires_grad_()
    pictures, gradients = [], []
    for way in (view, view.along(other), view.along(other.detach())):
        made = way.texture(uvs.double(), leaves[1], BACKGROUND)
        pictures.append(made.detach())
        gradients.append(torch.autograd.grad(made.square().sum(), (*leaves, other), allow_unused=True))
    plain, moved, held = gradients
    assert plain[2] is None
    assert moved[0] is None
    assert held[0] is None
    assert held[2] is None
    assert bool(plain[0].any())
    torch.testing.assert_close(plain[0], moved[2])
    for picture, gradient in zip(pictures, gradients, strict=True):
        torch.testing.assert_close(picture, pictures[0])
        torch.testing.assert_close(gradient[1], plain[1])


def test_gradients_of_attributes_are_derivatives() -> None:
    screen, faces = sphere_views(False, 0)
    values = torch.rand(2, len(faces), 3, 2, dtype=torch.float64).requires_grad_()
    soft = SoftBlend(sigma=0.02, gamma=0.1, near=1.0, far=4.0)

    def picture(screen: Tensor, values: Tensor) -> Tensor:
        return SoftView(screen, faces, 4, 20, soft, perspective=False).corners(values, (0.3, 0.1))

    assert torch.autograd.gradcheck(picture, (screen.double().requires_grad_(), values), atol=1e-6)


def test_gradients_reach_the_camera() -> None:
    """Moving the camera down its right axis by the gradient's sign makes the picture more like its own later self."""
    vertices, faces = icosphere(2)
    camera = orbit(20, 30)
    goal_camera = orbit(20, 30)
    goal_camera.translation[0, 0] += 0.03
    shades = (vertices[None] + 0.5).detach()
    goal = SoftView(project_to_screen(vertices[None], goal_camera), faces, 32, 8, SOFT).vertices(shades)
    camera.translation.requires_grad_()
    picture = SoftView(project_to_screen(vertices[None], camera), faces, 32, 8, SOFT).vertices(shades)
    ((picture - goal) ** 2).sum().backward()
    gradient = camera.translation.grad
    assert gradient is not None
    assert gradient[0, 0] < 0
    assert abs(float(gradient[0, 0])) > 3 * abs(float(gradient[0, 1]))


def test_colours_are_shares() -> None:
    screen, faces = sphere_views()
    made = SoftView(screen, faces, 24, 8, SOFT).vertices(torch.ones(1, screen.shape[1], 2), (1.0, 0.0))
    torch.testing.assert_close(made[:, 0], torch.ones(2, 24, 24))
    assert float(made[:, 1].max()) > 0.999
    assert float(made[0, 1, 0, 0]) == 0
    weights = blend_weights(rasterize_soft(screen, faces, 24, 8, blur_radius_of(SOFT.sigma)), SOFT)
    torch.testing.assert_close(made[:, 1], weights.faces.sum(-1))
    torch.testing.assert_close(made[:, 1], 1 - weights.background, rtol=0, atol=1e-6)


def test_one_triangle_in_closed_form() -> None:
    """In front of its plane's points (u, v) -> z, weights follow from distance and depth alone."""
    screen = torch.tensor([[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]], dtype=torch.float64)
    soft = SoftBlend(sigma=0.05, gamma=0.2, near=1.0, far=3.0)
    face = torch.tensor([[0, 1, 2]])
    made = SoftView(screen, face, 9, 2, soft).vertices(torch.ones(1, 3, 1).double())
    inside = -float(rasterize_soft(screen, face, 9, 2, blur_radius_of(0.05)).dists[0, 4, 4, 0])
    covered = 1 / (1 + math.exp(-inside / 0.05))
    share = covered * math.exp(0.5 / 0.2) / (covered * math.exp(0.5 / 0.2) + 1)
    assert made[0, 0, 4, 4].item() == pytest.approx(share, rel=1e-8)


def test_the_nearer_face_is_seen() -> None:
    near = torch.tensor([[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]])
    screen = torch.cat([near, near + torch.tensor([0, 0, 0.5])])[None]
    values = torch.tensor([[1.0]] * 3 + [[5.0]] * 3)[None]
    faces = torch.tensor([[3, 4, 5], [0, 1, 2]])
    sharp = SoftBlend(sigma=1e-5, gamma=1e-4, near=1.0, far=4.0)
    assert SoftView(screen, faces, 9, 2, sharp).vertices(values)[0, 0, 4, 4].item() == pytest.approx(1.0)
    blurred = SoftBlend(sigma=1e-5, gamma=1e3, near=1.0, far=4.0)
    # Faces and background weigh the same.
    made = SoftView(screen, faces, 9, 2, blurred).vertices(values)
    assert made[0, 0, 4, 4].item() == pytest.approx(2.0, rel=1e-3)


def test_textures_are_the_right_way_up() -> None:
    """A square that shows the whole texture shows its first row on top."""
    corners = torch.tensor([[-1.0, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])  # v = 1 is the texture's top, as in OpenGL
    texture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    soft = SoftBlend(sigma=1e-6, near=1.0, far=3.0)
    picture = SoftView(corners[None], faces, 8, 4, soft).texture(uv[faces], texture)
    off_diagonal = ~torch.eye(8, dtype=torch.bool)
    torch.testing.assert_close(picture[..., off_diagonal], texture[..., off_diagonal], rtol=0, atol=1e-4)


@pytest.mark.parametrize("build", [SoftView, by_pytorch3d])
def test_every_shading_of_a_view_is_that_of_a_view_of_its_own(build: Callable[..., SoftView]) -> None:
    """Values and summed gradients, of textures that serve two meshes each, and along other screens."""
    screen, faces = sphere_views()
    screen = screen.repeat_interleave(2, dim=0).requires_grad_()
    uvs, texture = textured(4, len(faces))
    both = torch.cat([texture, 1 - texture]).requires_grad_()
    values = torch.rand(1, screen.shape[1], 2).requires_grad_()

    def shadings(views: list[SoftView]) -> list[Tensor]:
        return [views[0].texture(uvs, both, BACKGROUND), views[1].vertices(values), views[2].texture(uvs, both)]

    view = build(screen, faces, 16, 6, SOFT, False)
    with torch.no_grad():  # who asks first does not decide about gradients
        assert int(view.nearest_faces.max()) > 0
    shared = shadings([view, view, view.along(screen * 1)])
    apart = shadings([build(screen, faces, 16, 6, SOFT, False) for _ in range(3)])
    singles = [
        build(screen[i : i + 1], faces, 16, 6, SOFT, False).texture(uvs, both[i // 2 : i // 2 + 1], BACKGROUND)
        for i in range(4)
    ]
    torch.testing.assert_close(torch.cat(singles), shared[0])
    leaves = [screen, both, values]

    def total(parts: list[Tensor]) -> list[Tensor]:
        return with_gradients(torch.cat([part.flatten() for part in parts]), leaves)

    for one, other in zip(total(shared), total(apart), strict=True):
        assert float(one.norm()) > 0.1
        assert distance(one, other) <= 1e-3
    alone, together = with_gradients(torch.cat(singles), leaves[:2]), with_gradients(shared[0], leaves[:2])
    for one, other in zip(alone, together, strict=True):
        assert distance(one, other) <= 1e-3


@pytest.mark.parametrize("sets", [1, 3])
@pytest.mark.parametrize("views", [3, 21])
def test_the_same_bits_for_any_number_of_threads(sets: int, views: int, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = sphere_views(True, 1)
    # In float64, which shows the order of sums that float32 rounds away.
    screen = (screen[:1] + 0.01 * torch.arange(views)[:, None, None]).double().requires_grad_()
    uvs, texture = (part.double() for part in textured(4, len(faces)))
    textures = torch.cat([texture * share for share in (1.0, 0.7, 0.3)])[:sets].requires_grad_()
    made = []
    for threads in (1, 3):
        monkeypatch.setattr(kernel_threads.torch, "get_num_threads", lambda threads=threads: threads)
        view = SoftView(screen, faces, 20, 5, SOFT)
        picture = view.texture(uvs, textures)
        made.append([picture, *with_gradients(picture, [screen, textures]), *view.face_sums()])
    for one, other in zip(*made, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30, -1e30])
def test_extreme_coordinates_neither_crash_nor_write_outside(bad: float) -> None:
    screen, faces = screen_mesh("soup")
    screen[0, ::7, 0] = bad
    screen[0, 1::11, 2] = bad
    uvs, texture = textured(4, len(faces))
    SoftView(screen.requires_grad_(), faces, 16, 4, SOFT).texture(uvs, texture).sum().backward()


def test_no_faces_show_the_background() -> None:
    screen, values = torch.zeros(2, 3, 3, requires_grad=True), torch.zeros(1, 3, 2, requires_grad=True)
    view = SoftView(screen, torch.zeros(0, 3, dtype=torch.int64), 8)
    made = view.vertices(values, (0.5, 0.2))
    made.sum().backward()
    assert torch.equal(made[:, 0], torch.full((2, 8, 8), 0.5))
    assert screen.grad is not None
    assert not bool(screen.grad.any())
    assert bool((view.nearest_faces == -1).all())


@pytest.mark.parametrize("layers", [1, 3, None])
def test_sums_over_the_pixels_of_a_face(layers: int | None) -> None:
    screen, faces = sphere_views()
    total, moments = SoftView(screen, faces, 16, 5, SOFT).face_sums(layers)
    fragments = rasterize_soft(screen, faces, 16, 5, blur_radius_of(SOFT.sigma))
    index, weights = fragments.pix_to_face[..., :layers], blend_weights(fragments, SOFT).faces[..., :layers]
    centers = pixel_centers(16, 16)
    for image, face in ((0, int(index[0, 8, 8, 0])), (1, int(index[1, 7, 9, 0]))):
        there = (index[image] == face) * weights[image]
        torch.testing.assert_close(total[image, face], there.sum(), rtol=1e-4, atol=1e-5)
        expected = (there.sum(-1)[..., None] * centers).sum((0, 1))
        torch.testing.assert_close(moments[image, face], expected, rtol=1e-4, atol=1e-5)
        assert total[image, face] > 0.05
    torch.testing.assert_close(total.sum(), weights.sum(), rtol=1e-5, atol=0)
    listed = face_pixel_sums(index, weights, len(faces))
    torch.testing.assert_close(moments, listed[1], rtol=1e-4, atol=1e-5)


def test_settings_that_cannot_be_meant() -> None:
    screen, faces = sphere_views(True, 0)
    values = torch.ones(1, screen.shape[1], 2)
    for settings in ({"sigma": 0.0}, {"gamma": -1.0}, {"near": 5.0, "far": 5.0}, {"background_eps": 0.0}):
        with pytest.raises(ConfigError):
            SoftBlend(**settings)
    with pytest.raises(DataError, match="background"):
        SoftView(screen, faces, 8).vertices(values, (0.0,))
    with pytest.raises(DataError, match="3 textures"):
        SoftView(screen, faces, 8).vertices(values.expand(3, -1, -1))
    with pytest.raises(DataError, match="faces_per_pixel"):
        SoftView(screen, faces, 8, 0)
    with pytest.raises(DataError, match="-1..10"):
        SoftView(screen, faces - 1, 8)
    with pytest.raises(DataError, match="texel"):
        SoftView(screen, faces, 8).texture(torch.zeros(len(faces), 3, 2), torch.zeros(1, 3, 0, 4))


@pytest.mark.gpu
def test_the_gpu_gives_the_same_picture() -> None:
    screen, faces = sphere_views()
    uvs, texture = textured(4, len(faces))
    ours = SoftView(screen, faces, 32, 8, SOFT).texture(uvs, texture, BACKGROUND)
    leaves = [screen.cuda().requires_grad_(), texture.cuda().requires_grad_()]
    theirs = SoftView(leaves[0], faces.cuda(), 32, 8, SOFT).texture(uvs.cuda(), leaves[1], BACKGROUND)
    assert float((ours - theirs.cpu()).abs().mean()) < 1e-4
    assert all(bool(torch.isfinite(part).all()) for part in with_gradients(theirs, leaves))
