"""Soft pictures against PyTorch3D's blending, the slow reference, torch's own sampling, and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.geometry.cameras import orbit, pixel_centers
from raylift.rendering import reference, soft_render
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_aggregate import (
    aggregate_attributes,
    aggregate_texture,
    gathered_attributes,
    gathered_texture,
)
from raylift.rendering.soft_blend import SoftBlend, blend_weights, face_pixel_sums
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_render import render_soft_corners, render_soft_texture, render_soft_vertices
from raylift.rendering.soft_silhouette import blur_radius_of, soft_silhouette
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
    ours = render_soft_texture(leaves[0], faces, uvs.double(), leaves[1], 16, layers, SOFT, BACKGROUND).values
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
    ours = render_soft_vertices(screen, faces, colors, 24, 8, blend, BACKGROUND)
    fragments = rasterize_soft(screen, faces, 24, 8, blur_radius_of(1e-3))
    points = colors[0, faces[fragments.pix_to_face.clamp(min=0)]]
    parameters = BlendParams(sigma=1e-3, gamma=gamma, background_color=BACKGROUND)
    theirs = softmax_rgb_blend((fragments.bary_coords[..., None] * points).sum(-2), fragments, parameters)
    torch.testing.assert_close(ours.values, theirs[..., :3].permute(0, 3, 1, 2), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.alpha, theirs[..., 3], rtol=1e-5, atol=1e-6)
    mine, expected = with_gradients(ours.values, leaves), with_gradients(theirs[..., :3].permute(0, 3, 1, 2), leaves)
    for one, other in zip(mine, expected, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())


def test_gradients_of_textures_are_derivatives() -> None:
    screen, faces = sphere_views(True, 0)
    uvs, texture = textured(2, len(faces), 3)
    leaves = (screen[:1].double().requires_grad_(), texture.double().requires_grad_())
    soft = SoftBlend(sigma=0.02, gamma=0.1, near=1.0, far=4.0)

    def picture(screen: Tensor, texture: Tensor) -> tuple[Tensor, Tensor]:
        made = render_soft_texture(screen, faces, uvs.double(), texture, 4, 20, soft, BACKGROUND)
        return made.values, made.alpha

    assert torch.autograd.gradcheck(picture, leaves, atol=1e-6)


@pytest.mark.parametrize("keep_fragments", [True, False])
def test_a_picture_may_leave_the_screen_alone(keep_fragments: bool) -> None:
    """The same picture, and the same gradient of the texture; what is covered still moves the screen."""
    screen, faces = sphere_views(True, 0)
    uvs, texture = textured(2, len(faces), 3)
    gradients = []
    for moves_screen in (True, False):
        leaves = (screen.double().requires_grad_(), texture.double().requires_grad_())
        made = render_soft_texture(
            leaves[0], faces, uvs.double(), leaves[1], 8, 4, SOFT, BACKGROUND,
            keep_fragments=keep_fragments, moves_screen=moves_screen,
        )  # fmt: skip
        found = torch.autograd.grad(made.values.square().sum(), leaves, retain_graph=True, allow_unused=True)
        assert (found[0] is not None and bool(found[0].any())) == moves_screen
        (covered,) = torch.autograd.grad(made.alpha.sum(), leaves[:1])
        assert bool(covered.any())
        gradients.append((made.values.detach(), found[1]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_attributes_are_derivatives() -> None:
    screen, faces = sphere_views(False, 0)
    values = torch.rand(2, len(faces), 3, 2, dtype=torch.float64).requires_grad_()
    soft = SoftBlend(sigma=0.02, gamma=0.1, near=1.0, far=4.0)

    def picture(screen: Tensor, values: Tensor) -> Tensor:
        return render_soft_corners(screen, faces, values, 4, 20, soft, (0.3, 0.1), perspective=False).values

    assert torch.autograd.gradcheck(picture, (screen.double().requires_grad_(), values), atol=1e-6)


def test_gradients_reach_the_camera() -> None:
    """Moving the camera down its right axis by the gradient's sign makes the picture more like its own later self."""
    vertices, faces = icosphere(2)
    camera = orbit(20, 30)
    goal_camera = orbit(20, 30)
    goal_camera.translation[0, 0] += 0.03
    shades = (vertices[None] + 0.5).detach()
    goal = render_soft_vertices(project_to_screen(vertices[None], goal_camera), faces, shades, 32, 8, SOFT).values
    camera.translation.requires_grad_()
    picture = render_soft_vertices(project_to_screen(vertices[None], camera), faces, shades, 32, 8, SOFT).values
    ((picture - goal) ** 2).sum().backward()
    gradient = camera.translation.grad
    assert gradient is not None
    assert gradient[0, 0] < 0
    assert abs(float(gradient[0, 0])) > 3 * abs(float(gradient[0, 1]))


def test_weights_are_shares() -> None:
    screen, faces = sphere_views()
    made = render_soft_vertices(screen, faces, torch.ones(1, screen.shape[1], 2), 24, 8, SOFT, (1.0, 0.0))
    assert made.weights is not None
    assert made.fragments is not None
    total = made.weights.faces.sum(-1) + made.weights.background
    torch.testing.assert_close(total, torch.ones_like(total))
    assert bool((made.weights.faces[made.fragments.pix_to_face < 0] == 0).all())
    torch.testing.assert_close(made.values[:, 0], torch.ones_like(total))
    torch.testing.assert_close(made.values[:, 1], made.weights.faces.sum(-1))
    assert float(made.values[:, 1].max()) > 0.999
    assert float(made.values[0, 1, 0, 0]) == 0
    all_layers = render_soft_vertices(screen, faces, torch.ones(1, screen.shape[1], 1), 24, 60, SOFT)
    torch.testing.assert_close(all_layers.alpha, soft_silhouette(screen, faces, 24, SOFT.sigma), rtol=0, atol=1e-5)


def test_one_triangle_in_closed_form() -> None:
    """In front of its plane's points (u, v) -> z, weights follow from distance and depth alone."""
    screen = torch.tensor([[[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]]], dtype=torch.float64)
    soft = SoftBlend(sigma=0.05, gamma=0.2, near=1.0, far=3.0)
    made = render_soft_vertices(screen, torch.tensor([[0, 1, 2]]), torch.ones(1, 3, 1).double(), 9, 2, soft)
    assert made.fragments is not None
    distance = -float(made.fragments.dists[0, 4, 4, 0])
    covered = 1 / (1 + math.exp(-distance / 0.05))
    share = covered * math.exp(0.5 / 0.2) / (covered * math.exp(0.5 / 0.2) + 1)
    assert made.values[0, 0, 4, 4].item() == pytest.approx(share, rel=1e-8)
    assert made.alpha[0, 4, 4].item() == pytest.approx(covered, rel=1e-8)


def test_the_nearer_face_is_seen() -> None:
    near = torch.tensor([[-0.9, -0.9, 2.0], [0.9, -0.9, 2.0], [0.0, 0.9, 2.0]])
    screen = torch.cat([near, near + torch.tensor([0, 0, 0.5])])[None]
    values = torch.tensor([[1.0]] * 3 + [[5.0]] * 3)[None]
    faces = torch.tensor([[3, 4, 5], [0, 1, 2]])
    sharp = SoftBlend(sigma=1e-5, gamma=1e-4, near=1.0, far=4.0)
    assert render_soft_vertices(screen, faces, values, 9, 2, sharp).values[0, 0, 4, 4].item() == pytest.approx(1.0)
    blurred = SoftBlend(sigma=1e-5, gamma=1e3, near=1.0, far=4.0)
    # Faces and background weigh the same.
    assert render_soft_vertices(screen, faces, values, 9, 2, blurred).values[0, 0, 4, 4].item() == pytest.approx(
        2.0, rel=1e-3
    )


def test_textures_are_the_right_way_up() -> None:
    """A square that shows the whole texture shows its first row on top."""
    corners = torch.tensor([[-1.0, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])  # v = 1 is the texture's top, as in OpenGL
    texture = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    soft = SoftBlend(sigma=1e-6, near=1.0, far=3.0)
    picture = render_soft_texture(corners[None], faces, uv[faces], texture, 8, 4, soft).values
    off_diagonal = ~torch.eye(8, dtype=torch.bool)
    torch.testing.assert_close(picture[..., off_diagonal], texture[..., off_diagonal], rtol=0, atol=1e-4)


def test_chunks_give_the_same_picture_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = sphere_views()
    uvs, texture = textured(4, len(faces))
    leaves = [screen.requires_grad_(), texture.requires_grad_()]
    whole = render_soft_texture(screen, faces, uvs, texture, 16, 6, SOFT, BACKGROUND)
    monkeypatch.setattr(soft_render, "CHUNK_FRAGMENTS", 16 * 16 * 6)
    parts = render_soft_texture(screen, faces, uvs, texture, 16, 6, SOFT, BACKGROUND, keep_fragments=False)
    assert parts.fragments is None
    assert torch.equal(whole.values, parts.values)
    assert torch.equal(whole.alpha, parts.alpha)
    for one, other in zip(with_gradients(whole.values, leaves), with_gradients(parts.values, leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_sums_over_the_pixels_of_a_face() -> None:
    screen, faces = sphere_views()
    fragments = rasterize_soft(screen, faces, 16, 5, blur_radius_of(SOFT.sigma))
    weights = blend_weights(fragments, SOFT).faces.requires_grad_()
    total, moments = face_pixel_sums(fragments, weights, len(faces))
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
        render_soft_vertices(screen, faces, values, 8, background=(0.0,))
    with pytest.raises(DataError, match="3 textures"):
        render_soft_vertices(screen, faces, values.expand(3, -1, -1), 8)
    with pytest.raises(DataError, match="texel"):
        render_soft_texture(screen, faces, torch.zeros(len(faces), 3, 2), torch.zeros(1, 3, 0, 4), 8)


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
@pytest.mark.parametrize("keep_fragments", [True, False])
def test_the_gpu_gives_the_same_picture(keep_fragments: bool) -> None:
    screen, faces = sphere_views()
    uvs, texture = textured(4, len(faces))
    ours = render_soft_texture(screen, faces, uvs, texture, 32, 8, SOFT, BACKGROUND)
    leaves = [screen.cuda().requires_grad_(), texture.cuda().requires_grad_()]
    theirs = render_soft_texture(
        leaves[0], faces.cuda(), uvs.cuda(), leaves[1], 32, 8, SOFT, BACKGROUND, keep_fragments=keep_fragments
    )
    assert float((ours.values - theirs.values.cpu()).abs().mean()) < 1e-4
    assert all(bool(torch.isfinite(part).all()) for part in with_gradients(theirs.values, leaves))
