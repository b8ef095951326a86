"""Soft pictures against PyTorch3D's blending, the slow reference, torch's own sampling, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.geometry.cameras import orbit, pixel_centers
from raylift.rendering import reference
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_aggregate import (
    aggregate_attributes,
    aggregate_texture,
    gathered_attributes,
    gathered_texture,
)
from raylift.rendering.soft_blend import SoftBlend, blend_weights, face_pixel_sums
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of, soft_silhouette
from raylift.rendering.soft_view import SoftView
from tests.rendering.soft_meshes import icosphere, screen_mesh, sphere_views

SOFT = SoftBlend(sigma=1e-3, gamma=3e-3, near=0.5, far=4.0)
BACKGROUND = (0.2, 0.5, 0.9)


def textured(seed: int, num_faces: int, texels: int = 7) -> tuple[Tensor, Tensor]:
    """Random corners in the texture, some outside of it, and a random texture."""
    generator = torch.Generator().manual_seed(seed)
    uvs = 1.2 * torch.rand(num_faces, 3, 2, generator=generator) - 0.1
    return uvs, torch.rand(1, 3, texels, texels + 2, generator=generator)


def slow_picture(screen: Tensor, faces: Tensor, uvs: Tensor, texture: Tensor, size: int, layers: int) -> Tensor:
    """The same picture by the reference alone."""
    fragments = reference.rasterize_soft(screen, faces, size, layers, blur_radius_of(SOFT.sigma), True)
    colors = reference.texture_colors(fragments, uvs, texture)
    behind = torch.tensor(BACKGROUND, dtype=screen.dtype)
    settings = SOFT.sigma, SOFT.gamma, SOFT.near, SOFT.far, SOFT.background_eps
    return reference.blend(fragments, colors, behind, *settings)


def with_gradients(picture: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    draw = torch.randn(picture.shape, generator=torch.Generator().manual_seed(3)).to(picture)
    return list(torch.autograd.grad((picture * draw).sum(), leaves))


@pytest.mark.parametrize("mesh", ["sphere", "soup", "behind", "border"])
@pytest.mark.parametrize("layers", [2, 12])
def test_same_as_the_reference(mesh: str, layers: int) -> None:
    screen, faces = screen_mesh(mesh)
    uvs, texture = textured(1, len(faces))
    leaves = [screen.double().requires_grad_(), texture.double().requires_grad_()]
    ours = SoftView(leaves[0], faces, 16, layers, SOFT).texture(uvs.double(), leaves[1], BACKGROUND)
    slow = slow_picture(leaves[0], faces, uvs.double(), leaves[1], 16, layers)
    assert float(slow.detach().std()) > 0.05
    torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)
    for mine, expected in zip(with_gradients(ours, leaves), with_gradients(slow, leaves), strict=True):
        assert float(expected.norm()) > 0.1
        assert float((mine - expected).norm()) <= 1e-7 * float(expected.norm())


@pytest.mark.parametrize("gamma", [1e-4, 1e-2])
def test_same_as_pytorch3d_blends(gamma: float) -> None:
    from pytorch3d.renderer.blending import BlendParams, softmax_rgb_blend

    screen, faces = sphere_views()
    colors = torch.rand(1, screen.shape[1], 3, generator=torch.Generator().manual_seed(0))
    leaves = [screen.requires_grad_(), colors.requires_grad_()]
    blend = SoftBlend(sigma=1e-3, gamma=gamma)
    view = SoftView(screen, faces, 24, 8, blend)
    ours = view.vertices(colors, BACKGROUND)
    fragments = rasterize_soft(screen, faces, 24, 8, blur_radius_of(1e-3))
    points = colors[0, faces[fragments.pix_to_face.clamp(min=0)]]
    parameters = BlendParams(sigma=1e-3, gamma=gamma, background_color=BACKGROUND)
    theirs = softmax_rgb_blend((fragments.bary_coords[..., None] * points).sum(-2), fragments, parameters)
    torch.testing.assert_close(ours, theirs[..., :3].permute(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(view.alpha, theirs[..., 3], rtol=1e-5, atol=1e-6)
    mine, expected = with_gradients(ours, leaves), with_gradients(theirs[..., :3].permute(0, 3, 1, 2), leaves)
    for one, other in zip(mine, expected, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())


def test_gradients_of_textures_are_derivatives() -> None:
    screen, faces = sphere_views(True, 0)
    uvs, texture = textured(2, len(faces), 3)
    leaves = (screen[:1].double().requires_grad_(), texture.double().requires_grad_())
    soft = SoftBlend(sigma=0.02, gamma=0.1, near=1.0, far=4.0)

    def picture(screen: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        view = SoftView(screen, faces, 4, 20, soft)
        return view.texture(uvs.double(), texture, BACKGROUND), view.alpha

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


def test_weights_are_shares() -> None:
    screen, faces = sphere_views()
    view = SoftView(screen, faces, 24, 8, SOFT)
    made = view.vertices(torch.ones(1, screen.shape[1], 2), (1.0, 0.0))
    total = view.weights.faces.sum(-1) + view.weights.background
    torch.testing.assert_close(total, torch.ones_like(total))
    assert bool((view.weights.faces[view.fragments.pix_to_face < 0] == 0).all())
    torch.testing.assert_close(made[:, 0], torch.ones_like(total))
    torch.testing.assert_close(made[:, 1], view.weights.faces.sum(-1))
    assert float(made[:, 1].max()) > 0.999
    assert float(made[0, 1, 0, 0]) == 0
    all_layers = SoftView(screen, faces, 24, 60, SOFT)
    torch.testing.assert_close(all_layers.alpha, soft_silhouette(screen, faces, 24, SOFT.sigma), rtol=0, atol=1e-5)


def test_one_triangle_in_closed_form() -> None:
    """In front of its plane's points (u, v) -> z, weights follow from distance and depth alone."""
    screen = torch.tensor([[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]], dtype=torch.float64)
    soft = SoftBlend(sigma=0.05, gamma=0.2, near=1.0, far=3.0)
    view = SoftView(screen, torch.tensor([[0, 1, 2]]), 9, 2, soft)
    made = view.vertices(torch.ones(1, 3, 1).double())
    distance = -float(view.fragments.dists[0, 4, 4, 0])
    covered = 1 / (1 + math.exp(-distance / 0.05))
    share = covered * math.exp(0.5 / 0.2) / (covered * math.exp(0.5 / 0.2) + 1)
    assert made[0, 0, 4, 4].item() == pytest.approx(share, rel=1e-8)
    assert view.alpha[0, 4, 4].item() == pytest.approx(covered, rel=1e-8)


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


def test_every_shading_of_a_view_is_that_of_a_view_of_its_own() -> None:
    """Values and summed gradients, of textures that serve some of the meshes, and of face sums."""
    screen, faces = sphere_views()
    screen = screen.double().repeat_interleave(2, dim=0).requires_grad_()
    uvs, texture = textured(4, len(faces))
    both = torch.cat([texture, 1 - texture]).double().requires_grad_()
    values = torch.rand(1, screen.shape[1], 2, dtype=torch.float64).requires_grad_()

    def shadings(views: list[SoftView]) -> list[Tensor]:
        sums = torch.cat([part.flatten() for part in views[2].face_sums()])
        return [views[0].texture(uvs.double(), both, BACKGROUND), views[1].vertices(values), sums, views[3].alpha]

    view = SoftView(screen, faces, 16, 6, SOFT)
    shared = shadings([view, view, view.along(screen * 1), view])
    apart = shadings([SoftView(screen, faces, 16, 6, SOFT) for _ in range(4)])
    singles = [
        SoftView(screen[i : i + 1], faces, 16, 6, SOFT).texture(uvs.double(), both[i // 2 : i // 2 + 1], BACKGROUND)
        for i in range(4)
    ]
    torch.testing.assert_close(torch.cat(singles), shared[0])
    for one, other in zip(shared, apart, strict=True):
        torch.testing.assert_close(one, other)
    leaves = [screen, both, values]

    def total(parts: list[Tensor]) -> list[Tensor]:
        return with_gradients(torch.cat([part.flatten() for part in parts]), leaves)

    for one, other in zip(total(shared), total(apart), strict=True):
        assert float(one.norm()) > 0.1
        torch.testing.assert_close(one, other)


def test_sums_over_the_pixels_of_a_face() -> None:
    screen, faces = sphere_views()
    fragments = rasterize_soft(screen, faces, 16, 5, blur_radius_of(SOFT.sigma))
    weights = blend_weights(fragments, SOFT).faces.requires_grad_()
    total, moments = face_pixel_sums(fragments.pix_to_face, weights, len(faces))
    assert total.shape == (2, len(faces))
    centers = pixel_centers(16, 16)
    for image, face in ((0, int(fragments.pix_to_face[0, 8, 8, 0])), (1, int(fragments.pix_to_face[1, 7, 9, 0]))):
        there = (fragments.pix_to_face[image] == face) * weights[image]
        torch.testing.assert_close(total[image, face], there.sum())
        torch.testing.assert_close(moments[image, face], (there.sum(-1)[..., None] * centers).sum((0, 1)))
        assert total[image, face] > 0.1
    torch.testing.assert_close(total.sum(), weights.sum())
    (gradient,) = torch.autograd.grad(total.sum(), weights)
    assert torch.equal(gradient, (fragments.pix_to_face >= 0).float())


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
    with pytest.raises(DataError, match="texel"):
        SoftView(screen, faces, 8).texture(torch.zeros(len(faces), 3, 2), torch.zeros(1, 3, 0, 4))


def test_what_a_gpu_does_gives_the_same_sums() -> None:
    screen, faces = sphere_views()
    uvs, texture = textured(5, len(faces))
    values = torch.rand(2, len(faces), 3, 4)
    fragments = rasterize_soft(screen, faces, 16, 4, blur_radius_of(SOFT.sigma))
    weights = blend_weights(fragments, SOFT).faces.requires_grad_()
    pairs = [
        (aggregate_attributes(fragments, weights, values), gathered_attributes(fragments, weights, values)),
        (
            aggregate_texture(fragments, weights, uvs, texture),
            gathered_texture(fragments, weights, uvs, texture.expand(2, -1, -1, -1)),
        ),
    ]
    for compiled, gathered in pairs:
        torch.testing.assert_close(compiled, gathered, rtol=1e-5, atol=1e-5)
        mine, expected = with_gradients(compiled, [weights])[0], with_gradients(gathered, [weights])[0]
        seen = fragments.pix_to_face >= 0
        torch.testing.assert_close(mine[seen], expected[seen], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_picture() -> None:
    screen, faces = sphere_views()
    uvs, texture = textured(4, len(faces))
    ours = SoftView(screen, faces, 32, 8, SOFT).texture(uvs, texture, BACKGROUND)
    leaves = [screen.cuda().requires_grad_(), texture.cuda().requires_grad_()]
    theirs = SoftView(leaves[0], faces.cuda(), 32, 8, SOFT).texture(uvs.cuda(), leaves[1], BACKGROUND)
    assert float((ours - theirs.cpu()).abs().mean()) < 1e-4
    assert all(bool(torch.isfinite(part).all()) for part in with_gradients(theirs, leaves))
