"""The octahedral chart: its orientation, its seams and its mesh."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.geometry.laplacian import adjacency, face_normals
from raylift.geometry.octahedral import directions_of, octasphere, pad_octahedral
from tests.reference.octahedral import uvs_of


def _directions(count: int) -> torch.Tensor:
    return functional.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(0)).double(), dim=-1)


def test_top_is_in_the_centre_the_front_at_the_bottom_and_the_underside_in_the_corners() -> None:
    axes = torch.tensor([[0, 1.0, 0], [0, 0, 3], [2, 0, 0], [-1, 0, 0], [0, 0, -1]])
    expected = torch.tensor([[0.5, 0.5], [0.5, 0], [1, 0.5], [0, 0.5], [0.5, 1]])
    torch.testing.assert_close(uvs_of(axes), expected)
    torch.testing.assert_close(directions_of(expected), functional.normalize(axes, dim=-1))
    corners = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    torch.testing.assert_close(directions_of(corners), torch.tensor([[0.0, -1, 0]]).expand(4, 3))


def test_the_chart_and_its_inverse_agree_everywhere() -> None:
    directions = _directions(2000)
    uvs = uvs_of(directions)
    assert float(uvs.min()) >= 0
    assert float(uvs.max()) <= 1
    torch.testing.assert_close(directions_of(uvs), directions)


def test_gradients_of_the_chart() -> None:
    directions = (_directions(20) * 1.7).requires_grad_()
    assert torch.autograd.gradcheck(uvs_of, directions)
    uvs = uvs_of(_directions(20)).requires_grad_()
    assert torch.autograd.gradcheck(directions_of, uvs)


@pytest.mark.parametrize("level", [1, 2, 5, 12])
def test_the_mesh_is_a_closed_sphere_that_faces_outwards_in_space_and_in_the_chart(level: int) -> None:
    vertices, faces, uvs = octasphere(level)
    assert vertices.shape == (4 * level**2 + 2, 3)
    assert faces.shape == (8 * level**2, 3)
    assert len(faces.unique()) == len(vertices)
    mesh = adjacency(faces, len(vertices))
    assert len(mesh.edge_faces) == len(mesh.edges)  # no border
    assert len(vertices) - len(mesh.edges) + len(faces) == 2  # Euler: a sphere
    outward = (face_normals(vertices, faces) * vertices[faces].mean(dim=1)).sum(dim=-1)
    assert float(outward.min()) > 0
    a, b, c = uvs.unbind(1)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    torch.testing.assert_close(areas, torch.full_like(areas, 1 / len(faces)))


def test_corner_coordinates_are_those_of_their_vertices() -> None:
    vertices, faces, uvs = octasphere(6)
    torch.testing.assert_close(directions_of(uvs), vertices[faces])


def test_no_face_crosses_a_fold_of_the_octahedron() -> None:
    vertices, faces, _ = octasphere(4)
    corners = vertices[faces]
    same_side = (corners > -1e-6).all(dim=1) | (corners < 1e-6).all(dim=1)
    assert bool(same_side.all())


def test_the_mesh_is_symmetric_about_every_plane() -> None:
    vertices, _, _ = octasphere(5)
    for axis in range(3):
        mirrored = vertices.clone()
        mirrored[:, axis] *= -1
        assert float(torch.cdist(mirrored.double(), vertices.double()).amin(dim=1).max()) < 1e-6


def test_an_impossible_level_is_refused() -> None:
    with pytest.raises(ConfigError, match="level is 0"):
        octasphere(0)


def test_padding_continues_a_smooth_painting_across_every_border() -> None:
    side, pad = 64, 5
    places = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    v, u = torch.meshgrid(places, places, indexing="ij")
    painting = directions_of(torch.stack([u, v], dim=-1)).permute(2, 0, 1)
    padded = pad_octahedral(painting, pad)
    assert padded.shape == (3, side + 2 * pad, side + 2 * pad)
    assert torch.equal(padded[:, pad:-pad, pad:-pad], painting)
    # A texel is at most 2 sqrt(6) / N wide on the sphere; a wrong turn at a border would jump by up to 2.
    for axis in (1, 2):
        assert float(padded.diff(dim=axis).norm(dim=0).max()) < 5 / side
    # Beyond a border's texel centre is what the gluing says: (1 + e, v) is (1 - e, 1 - v).
    assert torch.equal(padded[:, pad + 10, pad + side], painting[:, side - 1 - 10, side - 1])
    assert torch.equal(padded[:, pad + side, pad + 7], painting[:, side - 1, side - 1 - 7])
    assert torch.equal(padded[:, pad + side + 1, pad + side + 2], painting[:, 1, 2])


def test_padding_is_differentiable_and_refuses_what_it_cannot_pad() -> None:
    texture = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda one: pad_octahedral(one, 2), texture)
    with pytest.raises(ConfigError, match="padding"):
        pad_octahedral(texture, 5)
    with pytest.raises(ConfigError, match="padding"):
        pad_octahedral(texture[..., :3], 1)
