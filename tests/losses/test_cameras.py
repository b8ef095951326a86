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
    combined_scores,
    expected_over_hypotheses,
    hypothesis_probabilities,
    keypoint_error,
    keypoint_positions,
    uneven_use,
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


def test_uneven_use_is_zero_where_all_hypotheses_are_used_alike() -> None:
    """Decided cameras that differ cost nothing; the same one for all images costs log H."""
    decided = torch.eye(4, dtype=torch.float64)
    assert uneven_use(decided).item() == pytest.approx(0, abs=1e-9)
    assert uneven_use(decided[:1].expand(6, 4)).item() == pytest.approx(math.log(4))
    logits = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: uneven_use(x.softmax(dim=1)), logits)


def test_scores_count_every_kind_alike_whatever_its_scale() -> None:
    mask, picture = torch.tensor([[0.1, 0.3, 0.2]]), torch.tensor([[50.0, 10.0, 10.0]])
    torch.testing.assert_close(combined_scores(mask), torch.tensor([[0.0, 1.0, 0.5]]))
    # Half each: (0 + 1) / 2, (1 + 0) / 2, (0.5 + 0) / 2, then from the best to the worst again.
    torch.testing.assert_close(combined_scores(mask, picture), torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.equal(combined_scores(torch.ones(2, 3)), torch.zeros(2, 3))
