"""The symmetric sphere: counts, Euler's formula, mirror images, against trimesh's icosphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from raylift.core.errors import ConfigError
from raylift.geometry.icosphere import icosphere, symmetric_icosphere


@pytest.mark.parametrize("level", [0, 1, 3])
def test_the_same_sphere_as_trimesh(level: int) -> None:
    """The same points up to the icosahedron's own turn: as many, with the same gaps to their nearest neighbours."""
    vertices, faces = icosphere(level)
    theirs = trimesh.creation.icosphere(subdivisions=level)
    assert (len(vertices), len(faces)) == (len(theirs.vertices), len(theirs.faces))
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 1, atol=1e-14)
    ours = trimesh.Trimesh(vertices, faces, process=False)
    assert ours.is_watertight
    assert ours.volume == pytest.approx(theirs.volume, rel=1e-9)  # positive: wound outwards
    np.testing.assert_allclose(np.sort(ours.area_faces), np.sort(theirs.area_faces), rtol=1e-7)


def test_the_counts_of_the_papers() -> None:
    template = symmetric_icosphere(3)
    assert template.vertices.shape == (642, 3)
    assert template.faces.shape == (1280, 3)
    assert (template.num_on_plane, template.num_predicted, template.num_crossing) == (32, 337, 32)
    edges = template.vertices.max(dim=0).values - template.vertices.min(dim=0).values
    assert float(edges.max()) == pytest.approx(1.0, abs=1e-6)


def test_mirror_maps() -> None:
    template = symmetric_icosphere(2)
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(template.vertices[template.mirror_vertex], template.vertices * flip, rtol=0, atol=1e-7)
    mesh = trimesh.Trimesh(template.vertices.numpy(), template.faces.numpy(), process=False)
    assert mesh.is_watertight
    assert mesh.volume > 0
    centers = template.vertices[template.faces].mean(dim=1)
    torch.testing.assert_close(centers[template.mirror_face], centers * flip, rtol=0, atol=1e-6)
    own = template.mirror_face == torch.arange(len(template.faces))
    assert own[: template.num_crossing].all()
    assert not own[template.num_crossing :].any()
    # Corner k of a mirrored face is the mirror image of corner (0, 2, 1)[k] of its twin.
    number = template.num_crossing
    assert torch.equal(
        template.mirror_vertex[template.faces[number:]][:, [0, 2, 1]], template.faces[template.mirror_face[number:]]
    )


def test_a_half_gives_a_symmetric_whole() -> None:
    template = symmetric_icosphere(2)
    torch.testing.assert_close(template.expand(template.restrict(template.vertices)), template.vertices, rtol=0, atol=0)
    predicted = torch.randn(2, template.num_predicted, 3, dtype=torch.float64, requires_grad=True)
    whole = template.expand(predicted)
    assert whole.dtype == torch.float64
    torch.testing.assert_close(whole[:, template.mirror_vertex], whole * torch.tensor([-1.0, 1.0, 1.0]).double())
    assert not whole[:, : template.num_on_plane, 0].any()
    whole.sum().backward()
    # A pair moves y and z twice; its x cancels.
    assert predicted.grad is not None
    torch.testing.assert_close(predicted.grad[0, -1], torch.tensor([0.0, 2.0, 2.0], dtype=torch.float64))


def test_impossible_spheres_are_refused() -> None:
    with pytest.raises(ConfigError, match="level is 9"):
        icosphere(9)
    with pytest.raises(ConfigError, match="radius"):
        symmetric_icosphere(1, radius=0.0)
