"""Equations 13 and 14 and SCOPS' losses, against loops, SciPy and PyTorch3D."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch3d.loss import chamfer_distance as pytorch3d_chamfer
from scipy.spatial import cKDTree

from raylift.geometry.cameras import pixel_centers
from raylift.losses.part_segmentation import (
    center_equivariance_error,
    concentration_error,
    equivariance_error,
    orthonormality_error,
    part_centers,
    semantic_consistency_error,
)
from raylift.losses.parts import chamfer_distance, part_chamfer, part_probability_error


def test_chamfer_equals_pytorch3d() -> None:
    first, second = torch.rand(3, 7, 3), torch.rand(3, 5, 3)
    everyone = torch.ones(3, 7, dtype=torch.bool), torch.ones(3, 5, dtype=torch.bool)
    theirs, _ = pytorch3d_chamfer(first, second, batch_reduction=None)
    torch.testing.assert_close(chamfer_distance(first, second, *everyone), theirs)


def test_equation_13_equals_nearest_neighbours_by_part() -> None:
    projected = torch.rand(2, 9, 2, dtype=torch.float64)
    points = torch.rand(2, 3, 6, 2, dtype=torch.float64)
    vertex_parts = torch.zeros(3, 9, dtype=torch.bool)
    vertex_parts[0, :4], vertex_parts[1, 4:] = True, True  # part 2 has no vertices
    exists = torch.ones(2, 3, 6, dtype=torch.bool)
    exists[0, 0, 2:], exists[1, 1] = False, False  # image 1 shows nothing of part 1
    loss = part_chamfer(projected, vertex_parts, points, exists)
    for b, part in ((0, 0), (0, 1), (1, 0)):
        own = projected[b, vertex_parts[part]].numpy()
        theirs = points[b, part, exists[b, part]].numpy()
        there, back = cKDTree(theirs).query(own)[0], cKDTree(own).query(theirs)[0]
        assert float(loss[b, part]) == pytest.approx(np.mean(there**2) + np.mean(back**2), rel=1e-12)
    assert loss[1, 1] == loss[0, 2] == loss[1, 2] == 0


def test_equation_13_has_finite_gradients_where_parts_are_missing() -> None:
    projected = torch.rand(1, 4, 2, dtype=torch.float64, requires_grad=True)
    vertex_parts = torch.tensor([[True, True, False, False], [False] * 4])
    exists = torch.zeros(1, 2, 3, dtype=torch.bool)
    part_chamfer(projected, vertex_parts, torch.rand(1, 2, 3, 2).double(), exists).sum().backward()
    assert projected.grad is not None
    assert not projected.grad.any()
    exists[0, 0, :2] = True
    points = torch.rand(1, 2, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: part_chamfer(p, vertex_parts, points, exists), projected)


def test_equation_14_is_the_squared_difference() -> None:
    rendered, probability = torch.rand(2, 1, 4, 3, 3, dtype=torch.float64)
    error = part_probability_error(rendered, probability)
    np.testing.assert_allclose(error, np.square(rendered.numpy() - probability.numpy()))


def _responses() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, dtype=torch.float64).softmax(dim=1)


def test_concentration_equals_a_loop() -> None:
    parts, grid = _responses(), pixel_centers(4, 5, dtype=torch.float64)
    centers, error = part_centers(parts), concentration_error(parts)
    for k in range(3):
        mass = center = spread = 0.0
        for i in range(4):
            for j in range(5):
                mass += parts[1, k, i, j]
                center = center + parts[1, k, i, j] * grid[i, j]
        center = center / mass
        for i in range(4):
            for j in range(5):
                spread += parts[1, k, i, j] / mass * (grid[i, j] - center).square().sum()
        torch.testing.assert_close(centers[1, k], center)
        torch.testing.assert_close(error[1, k], torch.as_tensor(spread))


def test_a_part_at_one_pixel_is_concentrated() -> None:
    parts = torch.zeros(1, 2, 4, 4)
    parts[0, 0, 1, 2] = 1
    assert float(concentration_error(parts).max()) < 1e-12


def test_equivariance_is_a_divergence() -> None:
    ours, theirs = _responses(), _responses()
    expected = torch.nn.functional.kl_div(theirs.log(), ours, reduction="none").sum(dim=1)
    torch.testing.assert_close(equivariance_error(theirs, ours), expected)
    assert float(equivariance_error(ours, ours).abs().max()) < 1e-15
    assert center_equivariance_error(torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]]])).item() == 25


def test_semantic_consistency_vanishes_when_the_basis_explains_the_features() -> None:
    parts, basis = _responses(), torch.rand(3, 6, dtype=torch.float64)
    features = torch.einsum("bkhw,kd->bdhw", parts, basis)
    saliency = torch.rand(2, 1, 4, 5, dtype=torch.float64)
    assert float(semantic_consistency_error(parts, features, basis, saliency).max()) < 1e-28
    off = semantic_consistency_error(parts, features + 1, basis, saliency)
    torch.testing.assert_close(off, 6 * saliency[:, 0].square())


def test_orthonormality_counts_what_parts_share() -> None:
    basis = torch.tensor([[3.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    assert not orthonormality_error(basis).any()
    angle = 0.3
    basis[1] = torch.tensor([np.sin(angle), np.cos(angle), 0.0])
    assert float(orthonormality_error(basis).sum()) == pytest.approx(2 * np.sin(angle) ** 2, rel=1e-6)


def test_gradients_of_the_part_losses() -> None:
    parts, features = _responses().requires_grad_(), torch.rand(2, 6, 4, 5, dtype=torch.float64)
    basis = (0.1 + torch.rand(3, 6, dtype=torch.float64)).requires_grad_()
    saliency, others = torch.rand(2, 1, 4, 5, dtype=torch.float64), _responses()
    assert torch.autograd.gradcheck(concentration_error, parts, fast_mode=True)
    assert torch.autograd.gradcheck(lambda p: equivariance_error(others, p), parts, fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda p, w: semantic_consistency_error(p, features, w, saliency), (parts, basis), fast_mode=True
    )
    assert torch.autograd.gradcheck(orthonormality_error, basis, fast_mode=True)
