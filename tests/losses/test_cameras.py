"""CMR's camera and keypoint losses and what weighs camera hypotheses, on cases with known answers."""

from __future__ import annotations

import math

import pytest
import torch

from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.rotations import quaternion_to_matrix, rotation_angle
from raylift.losses.cameras import (
    assignment_entropy,
    camera_entropy,
    camera_errors,
    expected_over_hypotheses,
    hypothesis_probabilities,
    keypoint_error,
    keypoint_positions,
)


def test_rotation_error_is_that_of_the_angle_between() -> None:
    first, second = torch.randn(2, 6, 4, dtype=torch.float64)
    ones, shift = torch.ones(6).double(), torch.zeros(6, 2).double()
    errors = camera_errors(WeakPerspective(ones, shift, first), WeakPerspective(2 * ones, shift + 1, -second))
    angle = rotation_angle(quaternion_to_matrix(first), quaternion_to_matrix(second))
    torch.testing.assert_close(errors.rotation, 1 - (angle / 2).cos())
    assert errors.scale.tolist() == [1.0] * 6
    assert errors.translation.tolist() == [2.0] * 6


def test_keypoints() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 2, 0]]])
    decided = torch.tensor([[50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    positions = keypoint_positions(decided, vertices)
    torch.testing.assert_close(positions[0], torch.tensor([[0.0, 0, 0], [1 / 3, 2 / 3, 0]]))
    assert assignment_entropy(decided).tolist() == pytest.approx([0.0, math.log(3)], abs=1e-6)
    error = keypoint_error(positions[..., :2], torch.ones(1, 2, 2), torch.tensor([[True, False]]))
    assert error.tolist() == [[2.0, 0.0]]


def test_entropy_of_hypotheses() -> None:
    probabilities = torch.tensor([[0.25] * 4, [1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    assert camera_entropy(probabilities).tolist() == pytest.approx([math.log(4), 0.0, math.log(2)], abs=1e-6)
    errors = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).expand(3, 4)
    assert expected_over_hypotheses(errors, probabilities).tolist() == [2.5, 1.0, 1.5]
    logits = torch.zeros(2, 4, requires_grad=True)
    camera_entropy(logits.softmax(-1)).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) < 1e-6  # even odds are the most undecided


def test_better_cameras_are_more_probable() -> None:
    errors = torch.tensor([[0.1, 0.3, 0.2]], requires_grad=True)
    odds = hypothesis_probabilities(errors, 0.1)
    assert not odds.requires_grad
    assert odds.sum().item() == pytest.approx(1.0)
    assert (odds[0, 0] / odds[0, 2]).item() == pytest.approx(math.e, rel=1e-5)
