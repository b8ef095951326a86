"""Equation 5 and dihedral angles, against PyTorch3D, closed forms and trimesh."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh
from pytorch3d.structures import Meshes

from raylift.core.errors import DataError
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.laplacian import adjacency, dihedral_cosines, face_normals, uniform_laplacian


def test_equation_5_equals_pytorch3d() -> None:
    template = symmetric_icosphere(2)
    vertices = template.vertices + 0.1 * torch.randn(template.vertices.shape)
    mesh = adjacency(template.faces, len(vertices))
    packed = Meshes([vertices], [template.faces])
    expected = -(packed.laplacian_packed() @ vertices)
    torch.testing.assert_close(uniform_laplacian(vertices, mesh), expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(mesh.edges, packed.edges_packed())
    batch = torch.stack([vertices, 2 * vertices])
    torch.testing.assert_close(uniform_laplacian(batch, mesh)[1], 2 * expected, rtol=1e-5, atol=1e-6)


def test_the_laplacian_of_a_lone_vertex_is_zero_and_gradients_are_right() -> None:
    faces = torch.tensor([[0, 1, 2]])
    vertices = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    mesh = adjacency(faces, 4)
    delta = uniform_laplacian(vertices, mesh)
    assert not delta[3].any()
    torch.testing.assert_close(delta[0], vertices[0] - (vertices[1] + vertices[2]) / 2)
    assert torch.autograd.gradcheck(lambda v: uniform_laplacian(v, mesh), vertices)


@pytest.mark.parametrize("angle_deg", [180.0, 120.0, 90.0, 30.0])
def test_dihedral_angle_of_a_hinge(angle_deg: float) -> None:
    """Two triangles around the Y axis, opened by a known angle."""
    angle = math.radians(angle_deg)
    vertices = torch.tensor(
        [[0, 0, 0], [0, 1, 0], [1, 0, 0], [math.cos(angle), 0, math.sin(angle)]], dtype=torch.float64
    )
    faces = torch.tensor([[0, 1, 2], [1, 0, 3]])
    cosine = dihedral_cosines(vertices, faces, adjacency(faces, 4))
    assert cosine.tolist() == pytest.approx([math.cos(angle)], abs=1e-12)


def test_dihedral_angles_equal_trimesh() -> None:
    template = symmetric_icosphere(1)
    vertices = template.vertices.double() * torch.tensor([1.0, 0.6, 1.4])
    ours = trimesh.Trimesh(vertices.numpy(), template.faces.numpy(), process=False)
    cosines = dihedral_cosines(vertices, template.faces, adjacency(template.faces, len(vertices)))
    np.testing.assert_allclose(np.sort(-cosines.numpy()), np.sort(np.cos(ours.face_adjacency_angles)), atol=1e-9)


def test_a_face_without_area_has_no_normal_and_no_infinite_gradient() -> None:
    vertices = torch.zeros(3, 3, requires_grad=True)
    normals = face_normals(vertices, torch.tensor([[0, 1, 2]]))
    normals.sum().backward()
    assert not normals.any()
    assert vertices.grad is not None
    assert not vertices.grad.any()


def test_bad_faces_are_refused() -> None:
    with pytest.raises(DataError, match="outside"):
        adjacency(torch.tensor([[0, 1, 5]]), 4)
    with pytest.raises(DataError, match="more than two"):
        adjacency(torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]]), 5)
