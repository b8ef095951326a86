"""Equations 3 to 6 against NumPy and PyTorch3D."""

from __future__ import annotations

import numpy as np
import torch
from pytorch3d.loss import mesh_laplacian_smoothing, mesh_normal_consistency
from pytorch3d.structures import Meshes

from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.laplacian import adjacency
from raylift.losses.mesh_regularity import (
    deformation_loss,
    flatness_loss,
    flatness_square,
    laplacian_loss,
    laplacian_square,
)


def _bumpy() -> tuple[torch.Tensor, torch.Tensor]:
    template = symmetric_icosphere(1)
    return template.vertices.double() + 0.05 * torch.randn(template.vertices.shape).double(), template.faces


def test_equation_3_and_its_gradient_at_zero() -> None:
    offsets = torch.randn(2, 5, 3, dtype=torch.float64)
    np.testing.assert_allclose(deformation_loss(offsets), np.linalg.norm(offsets.numpy(), axis=-1), rtol=1e-12)
    still = torch.zeros(1, 4, 3, requires_grad=True)
    deformation_loss(still).sum().backward()
    assert still.grad is not None
    assert not still.grad.any()


def test_equation_4_equals_pytorch3d() -> None:
    vertices, faces = _bumpy()
    ours = laplacian_loss(vertices, adjacency(faces, len(vertices)))
    theirs = mesh_laplacian_smoothing(Meshes([vertices.float()], [faces]), method="uniform")
    torch.testing.assert_close(ours.mean().float(), theirs, rtol=1e-5, atol=1e-7)


def test_equation_6_equals_pytorch3d() -> None:
    """Its normal consistency is 1 - cos of the normals' angle, which is cos(nu) + 1 of the angle between the faces."""
    vertices, faces = _bumpy()
    ours = flatness_loss(vertices, faces, adjacency(faces, len(vertices)))
    theirs = mesh_normal_consistency(Meshes([vertices.float()], [faces]))
    torch.testing.assert_close(ours.mean().float(), theirs, rtol=1e-5, atol=1e-7)


def test_equation_6_is_least_on_a_plane() -> None:
    flat = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    mesh = adjacency(faces, 4)
    assert flatness_loss(flat, faces, mesh).tolist() == [0.0]
    bent = flat.clone()
    bent[3] = torch.tensor([0.5, 0.5, 0.7])  # straight up from the diagonal: a right angle
    torch.testing.assert_close(flatness_loss(bent, faces, mesh), torch.ones(1).double())


def test_gradients() -> None:
    vertices, faces = _bumpy()
    mesh = adjacency(faces, len(vertices))
    vertices.requires_grad_()
    assert torch.autograd.gradcheck(lambda v: laplacian_loss(v, mesh), vertices, fast_mode=True)
    assert torch.autograd.gradcheck(lambda v: flatness_loss(v, faces, mesh), vertices, fast_mode=True)


def test_squares_are_the_lengths_squared_and_far_smaller_on_a_sphere() -> None:
    vertices, faces = _bumpy()
    mesh = adjacency(faces, len(vertices))
    torch.testing.assert_close(laplacian_square(vertices, mesh), laplacian_loss(vertices, mesh).square())
    torch.testing.assert_close(flatness_square(vertices, faces, mesh), flatness_loss(vertices, faces, mesh).square())
    sphere = symmetric_icosphere(3)
    mesh = adjacency(sphere.faces, len(sphere.vertices))
    ratio = laplacian_loss(sphere.vertices, mesh).sum() / laplacian_square(sphere.vertices, mesh).sum()
    assert 100 < float(ratio) < 300, "so a weight of one is no weight of the other"
