"""The mapping phi: seams, poles, texels and samples."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from raylift.core.errors import ConfigError, DataError
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.uv_sphere import (
    corner_uvs,
    face_barycentrics,
    face_sample_uvs,
    mirror_texture,
    sample_texture,
    sphere_directions,
    sphere_uvs,
    texel_map,
)


def test_front_right_and_top() -> None:
    directions = torch.tensor([[0, 0, 2.0], [1, 0, 0], [-1, 0, 0], [0, 1, 1]])
    expected = torch.tensor([[0.5, 0.5], [0.75, 0.5], [0.25, 0.5], [0.5, 0.75]])
    torch.testing.assert_close(sphere_uvs(directions), expected)
    torch.testing.assert_close(sphere_directions(expected), functional.normalize(directions, dim=-1))


def test_no_face_is_torn_across_the_texture() -> None:
    template = symmetric_icosphere(3)
    uvs = corner_uvs(template.vertices, template.faces)
    extent = uvs[..., 0].max(dim=1).values - uvs[..., 0].min(dim=1).values
    assert float(extent.max()) < 0.26  # at a pole a face spans a fifth of the turn
    assert float(uvs[..., 0].max()) > 1 or float(uvs[..., 0].min()) < 0  # some faces do lie across the back
    # Away from the poles a corner's coordinates are its vertex's, up to whole turns.
    away = template.vertices[template.faces][..., [0, 2]].norm(dim=-1) > 1e-6
    vertex = sphere_uvs(template.vertices)[template.faces]
    turns = (uvs - vertex)[..., 0][away]
    torch.testing.assert_close(turns, turns.round(), rtol=0, atol=1e-6)


def _smooth(directions: torch.Tensor) -> torch.Tensor:
    """A colour that varies smoothly over the sphere."""
    return 0.5 + 0.4 * torch.stack([directions[..., 0], directions[..., 1], directions[..., 2]], dim=-1)


def test_no_seam_shows() -> None:
    """A smooth painting of the sphere is read back smooth on every face, the back and the poles included."""
    template = symmetric_icosphere(3)
    height, width = 128, 256
    v, u = torch.meshgrid(1 - (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    painting = _smooth(sphere_directions(torch.stack([u, v], dim=-1))).permute(2, 0, 1)[None]
    uvs = corner_uvs(template.vertices, template.faces)
    samples = face_sample_uvs(uvs, 6)
    assert samples.shape == (1280, 36, 2)
    read = sample_texture(painting, samples[None])[0]
    points = torch.einsum("sk,fkc->fsc", face_barycentrics(6), template.vertices[template.faces])
    truth = _smooth(functional.normalize(points, dim=-1))
    assert float((read - truth).abs().max()) < 0.06  # a torn face would be off by up to 0.8


def test_reading_across_the_back_interpolates() -> None:
    texture = torch.zeros(1, 1, 2, 4)
    texture[..., 0], texture[..., 3] = 1.0, 3.0
    uvs = torch.tensor([[[0.0, 0.5], [1.0, 0.5], [-0.125, 0.5], [1.125, 0.5], [0.125, 0.5]]])
    expected = torch.tensor([2.0, 2.0, 3.0, 1.0, 1.0])
    torch.testing.assert_close(sample_texture(texture, uvs)[0, :, 0], expected)


def test_texels_lie_where_phi_says() -> None:
    template = symmetric_icosphere(2)
    height, width = 24, 48
    found = texel_map(template.vertices, template.faces, height, width)
    assert found.face.shape == (height, width)
    assert int(found.face.min()) >= 0
    torch.testing.assert_close(found.barycentrics.sum(-1), torch.ones(height, width))
    assert float(found.barycentrics.min()) >= 0
    uvs = corner_uvs(template.vertices, template.faces)[found.face]
    back = (uvs * found.barycentrics[..., None]).sum(dim=2)
    rows = slice(6, 18)  # away from the gaps beside the poles
    u, v = (torch.arange(width) + 0.5) / width, 1 - (torch.arange(height) + 0.5) / height
    off = (back[rows, :, 0] - u + 0.5).remainder(1) - 0.5
    assert float(off.abs().max()) < 1e-5
    torch.testing.assert_close(back[rows, :, 1], v[rows, None].expand(-1, width), rtol=0, atol=1e-5)


def test_symmetric_textures_give_twins_the_same_colours() -> None:
    template = symmetric_icosphere(2)
    texture = mirror_texture(torch.rand(1, 3, 16, 16))
    assert texture.shape == (1, 3, 16, 32)
    uvs = corner_uvs(template.vertices, template.faces)
    number = template.num_crossing
    colors = sample_texture(texture, uvs[None])[0]
    twins = colors[template.mirror_face[number:]][:, [0, 2, 1]]
    torch.testing.assert_close(colors[number:], twins, rtol=0, atol=2e-5)


def test_samples_have_equal_shares_and_are_all_different() -> None:
    weights = face_barycentrics(6)
    assert len(weights.unique(dim=0)) == 36
    assert float(weights.min()) > 0
    torch.testing.assert_close(weights.mean(dim=0), torch.full((3,), 1 / 3), rtol=0, atol=5e-3)


def test_bad_requests_are_refused() -> None:
    template = symmetric_icosphere(0)
    with pytest.raises(ConfigError, match="samples"):
        face_barycentrics(0)
    with pytest.raises(ConfigError, match="texture has"):
        texel_map(template.vertices, template.faces, 0, 4)
    with pytest.raises(DataError, match="origin"):
        corner_uvs(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
