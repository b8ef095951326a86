"""Rotations against SciPy, and round trips."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from raylift.geometry import rotations
from tests.reference.cameras import random_rotations


def _vectors() -> torch.Tensor:
    """Rotation vectors: random ones, and angles near 0 and pi, where formulas break."""
    axes = torch.nn.functional.normalize(
        torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).double(), dim=-1
    )
    angles = torch.cat([torch.linspace(0.1, 3.0, 20), torch.tensor([0.0, 1e-9, 1e-5, 1e-3, math.pi - 1e-6]).repeat(4)])
    return axes * angles[:, None].double()


def test_matrices_equal_scipys() -> None:
    vectors = _vectors()
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(rotations.axis_angle_to_matrix(vectors), expected, atol=1e-12, rtol=0)
    quaternions = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_quat(canonical=True, scalar_first=True))
    torch.testing.assert_close(rotations.quaternion_to_matrix(3 * quaternions), expected, atol=1e-12, rtol=0)
    found = rotations.matrix_to_quaternion(expected)
    torch.testing.assert_close((found * quaternions).sum(-1).abs(), torch.ones(40).double(), atol=1e-12, rtol=0)
    assert (found[:, 0] >= 0).all()


def test_round_trips() -> None:
    vectors = _vectors()
    matrices = rotations.axis_angle_to_matrix(vectors)
    back = rotations.quaternion_to_matrix(rotations.matrix_to_quaternion(matrices))
    torch.testing.assert_close(back, matrices, atol=1e-12, rtol=0)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns(axis: int) -> None:
    vector = torch.zeros(3, dtype=torch.float64)
    vector[axis] = math.pi
    matrix = rotations.axis_angle_to_matrix(vector)
    back = rotations.quaternion_to_matrix(rotations.matrix_to_quaternion(matrix))
    torch.testing.assert_close(back, matrix, atol=1e-12, rtol=0)


def test_angle_is_exact_at_both_ends() -> None:
    for angle in (0.0, 1e-7, 0.5, math.pi / 2, math.pi - 1e-7, math.pi):
        vector = torch.tensor([0.36, 0.48, 0.8], dtype=torch.float64) * angle
        first = random_rotations(1, torch.Generator().manual_seed(1)).double()[0]
        first = torch.linalg.qr(first).Q
        found = rotations.rotation_angle(first, first @ rotations.axis_angle_to_matrix(vector))
        assert float(found) == pytest.approx(angle, abs=1e-14 if angle == 0 else 1e-11)


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(2)
    for function, size in (
        (rotations.quaternion_to_matrix, 4),
        (rotations.axis_angle_to_matrix, 3),
    ):
        inputs = torch.randn(4, size, dtype=torch.float64, generator=generator, requires_grad=True)
        assert torch.autograd.gradcheck(function, inputs)
    at_zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotations.axis_angle_to_matrix, at_zero)


def test_random_rotations_are_rotations_and_uniform() -> None:
    matrices = random_rotations(4000, torch.Generator().manual_seed(3))
    torch.testing.assert_close(matrices.mT @ matrices, torch.eye(3).expand(4000, 3, 3), atol=1e-5, rtol=0)
    assert (torch.linalg.det(matrices) > 0).all()
    angles = rotations.rotation_angle(torch.eye(3).expand(4000, 3, 3), matrices).numpy()
    # Of uniform rotations the angle has density (1 - cos a) / pi, so its mean is pi / 2 + 2 / pi.
    assert np.mean(angles) == pytest.approx(math.pi / 2 + 2 / math.pi, abs=0.03)
