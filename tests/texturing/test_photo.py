"""Photographs on meshes, with planted truth: what was seen, what its mirror image saw, and the rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera, Mesh
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.cameras import orbit
from raylift.geometry.rotations import matrix_to_quaternion
from raylift.rendering.lighting import Lighting
from raylift.rendering.render import render
from raylift.texturing.photo import PhotoTexture, texture_from_photo
from raylift.texturing.photo_view import PhotoView
from tests.texturing.surfaces import cube, ellipsoid, six_sides

RED, BLUE, YELLOW = (0.9, 0.1, 0.1), (0.1, 0.1, 0.9), (0.9, 0.9, 0.1)
GREEN = (0.0, 1.0, 0.0)


def generated(points: Tensor) -> Tensor:
    return torch.tensor(YELLOW).expand(len(points), 3)


def photograph(mesh: Mesh, camera: Camera, px: int = 96) -> tuple[Tensor, Tensor]:
    """On green, which the texture must not have."""
    seen = render(mesh, camera, px, Lighting.ambient(), background=GREEN)[0]
    return torch.from_numpy(seen.rgb).permute(2, 0, 1), torch.from_numpy(seen.alpha)


def two_coloured(mesh: Mesh) -> Mesh:
    """Red above, blue below."""
    high = mesh.vertices[:, 1:2] > 0
    return Mesh(mesh.vertices, mesh.faces, vertex_colors=torch.where(high, torch.tensor(RED), torch.tensor(BLUE)))


def weak(azimuth: float, scale: float) -> Camera:
    rotation = orbit(azimuth, 0.0).rotation
    return from_weak_perspective(
        WeakPerspective(torch.tensor([scale]), torch.zeros(1, 2), matrix_to_quaternion(rotation))
    )


def textured(camera: Camera, mirror: bool = True) -> PhotoTexture:
    mesh = ellipsoid()
    image, mask = photograph(two_coloured(mesh), camera)
    return texture_from_photo(mesh, camera, image, mask, generated, mirror, texture_px=128)


def share_of(picture: np.ndarray, alpha: np.ndarray, color: tuple[float, ...]) -> float:
    """The share of the object's pixels that are close to a colour."""
    near = np.abs(picture - np.array(color)).max(-1) < 0.15
    return float((near & (alpha == 1)).sum() / (alpha == 1).sum())


@pytest.mark.parametrize("camera", [orbit(0.0, 0.0), weak(0.0, 0.8)], ids=["perspective", "weak"])
def test_the_front_has_the_photograph_s_colours_and_the_back_the_model_s(camera: Camera) -> None:
    front, right, back, left, *_ = render(textured(camera).mesh, six_sides(), 64, Lighting.ambient())
    assert share_of(front.rgb, front.alpha, RED) > 0.3
    assert share_of(front.rgb, front.alpha, BLUE) > 0.3
    assert share_of(back.rgb, back.alpha, YELLOW) > 0.97
    half = right.rgb.shape[1] // 2
    # Seen from +X, the front is on the left.
    assert share_of(right.rgb[:, :half], right.alpha[:, :half], YELLOW) < 0.9
    assert share_of(left.rgb[:, half + 1 :], left.alpha[:, half + 1 :], YELLOW) < 0.9


def test_colours_are_where_they_were_seen() -> None:
    """Above is red and below blue, so that a flipped row, column or chart shows."""
    camera = orbit(40.0, 10.0)
    result = textured(camera)
    image, mask = photograph(two_coloured(ellipsoid()), camera)
    again = render(result.mesh, camera, 96, Lighting.ambient())[0]
    wrong = np.abs(again.rgb - image.permute(1, 2, 0).numpy()).max(-1) > 0.2
    inner = PhotoView.of(ellipsoid(), camera, image, mask).premultiplied[0, 3].numpy() == 1
    assert wrong[inner].mean() < 0.12


def test_the_hidden_side_takes_its_mirror_image_s_colours() -> None:
    """Seen from the right, the left side is hidden, and is as the right one."""
    camera = orbit(60.0, 0.0)
    with_mirror, without = textured(camera), textured(camera, mirror=False)
    left = orbit(-60.0, 0.0)
    picture = render(with_mirror.mesh, left, 64, Lighting.ambient())[0]
    assert share_of(picture.rgb, picture.alpha, YELLOW) < 0.25
    assert share_of(picture.rgb, picture.alpha, RED) > 0.25
    assert share_of(picture.rgb, picture.alpha, BLUE) > 0.25
    plain = render(without.mesh, left, 64, Lighting.ambient())[0]
    assert share_of(plain.rgb, plain.alpha, YELLOW) > 0.6
    assert sum(with_mirror.shares) == pytest.approx(1)
    assert with_mirror.shares.visible == pytest.approx(without.shares.visible)
    assert with_mirror.shares.mirrored > 0.1
    assert without.shares.mirrored == 0


@pytest.mark.parametrize("azimuth", [0.0, 35.0, 130.0])
def test_the_background_s_colour_is_nowhere(azimuth: float) -> None:
    texture = textured(orbit(azimuth, 20.0)).mesh.texture
    assert texture is not None
    red, green, blue = texture.unbind(-1)
    assert (green - torch.maximum(red, blue)).max() < 0.02  # yellow, red and blue all have at most as much green


def test_a_part_in_front_does_not_print_on_what_is_behind() -> None:
    """A small cube in front of a large one: the large one's hidden face keeps the generated colour."""
    near, far = cube(2, 0.08), cube(4, 0.25)
    vertices = torch.cat([far.vertices + torch.tensor([0, 0, -0.3]), near.vertices + torch.tensor([0, 0, 0.3])])
    faces = torch.cat([far.faces, near.faces + len(far.vertices)])
    colors = torch.tensor(RED).repeat(len(vertices), 1)
    colors[len(far.vertices) :] = torch.tensor(BLUE)
    camera = orbit(0.0, 0.0)
    image, mask = photograph(Mesh(vertices, faces, vertex_colors=colors), camera, 192)
    textured = texture_from_photo(Mesh(vertices, faces), camera, image, mask, generated, False, 128).mesh
    alone = Mesh(vertices, faces[: len(far.faces)], None, textured.corner_uvs[: len(far.faces)], textured.texture)  # type: ignore[index]
    picture = render(alone, camera, 96, Lighting.ambient())[0]
    assert share_of(picture.rgb, picture.alpha, BLUE) == 0
    assert share_of(picture.rgb[45:51, 45:51], picture.alpha[45:51, 45:51], YELLOW) > 0.9
    assert share_of(picture.rgb, picture.alpha, RED) > 0.3


def test_a_photograph_that_does_not_fit_is_refused() -> None:
    mesh, camera = ellipsoid(1), orbit(0.0, 0.0)
    image = torch.zeros(3, 32, 32)
    with pytest.raises(DataError, match="no foreground"):
        texture_from_photo(mesh, camera, image, torch.zeros(32, 32), None)
    with pytest.raises(DataError, match="do not fit"):
        texture_from_photo(mesh, camera, image, torch.ones(16, 16), None)


def test_a_surface_that_is_turned_away_counts_less() -> None:
    mesh, camera = ellipsoid(3, (0.4, 0.4, 0.4)), weak(0.0, 0.9)
    image, mask = photograph(mesh, camera)
    angles = torch.deg2rad(torch.tensor([0.0, 40.0, 70.0, 85.0, 120.0]))
    normals = torch.stack([torch.zeros(5), angles.sin(), angles.cos()], 1)
    # All at the centre of the picture, so that only the normal differs.
    points = torch.tensor([0.0, 0.0, 0.4]).expand(5, 3)
    _, weights = PhotoView.of(mesh, camera, image, mask).read(points, normals)
    assert weights[:2].tolist() == [1, 1]
    assert 0 < weights[2] < 1
    assert weights[3:].tolist() == [0, 0]
