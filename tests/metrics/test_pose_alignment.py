"""One robust turn of a model's world against planted ones, and how cameras spread."""

from __future__ import annotations

import math

import pytest
import torch

from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.metrics.pose import (
    azimuths_deg,
    best_global_rotation,
    circular_std_deg,
    rotation_error_deg,
    twin_forgiven_error_deg,
)
from raylift.metrics.pose_alignment import best_constant_camera, fit_pose_alignment, yaw_rotation
from tests.reference.cameras import random_rotations


def _orbit(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    azimuths = 360 * torch.rand(count, generator=generator)
    return orbit_rotations(azimuths, 5 + 40 * torch.rand(count, generator=generator))


def test_a_planted_yaw_is_found_through_confused_fronts_and_backs() -> None:
    truth = _orbit(50)
    turn = yaw_rotation(torch.tensor(117.0, dtype=torch.float64))
    predicted = truth @ turn.T
    # Two in five see the back for the front: the mean rotation of both is neither.
    half_turn = yaw_rotation(torch.tensor(180.0, dtype=torch.float64))
    predicted[:20] = truth[:20] @ half_turn @ turn.T
    found = fit_pose_alignment(predicted, truth)
    assert found.kind == "yaw"
    assert found.fraction_within == pytest.approx(0.6)
    torch.testing.assert_close(found.rotation, turn, rtol=0, atol=1e-9)
    errors = rotation_error_deg(predicted @ found.rotation, truth)
    assert int((errors < 1e-4).sum()) == 30
    assert float(twin_forgiven_error_deg(predicted @ found.rotation, truth).max()) < 1e-4
    assert found.num_images == 50


def test_outliers_do_not_pull_as_they_pull_the_mean() -> None:
    truth = _orbit(40)
    turn = yaw_rotation(torch.tensor(-50.0, dtype=torch.float64))
    predicted = truth @ turn.T
    predicted[:15] = random_rotations(15, torch.Generator().manual_seed(3)).double()
    robust = fit_pose_alignment(predicted, truth).rotation
    mean = best_global_rotation(predicted, truth)

    def error(found: torch.Tensor) -> float:
        return float(rotation_error_deg(found[None], turn[None]))

    assert error(robust) < 1.0
    assert error(mean) > 5 * max(error(robust), 0.1)


def test_a_full_rotation_is_taken_only_where_a_yaw_is_not_enough() -> None:
    truth = _orbit(30)
    tilted = axis_angle_to_matrix(torch.tensor([0.8, 0.5, -0.6], dtype=torch.float64))
    found = fit_pose_alignment(truth @ tilted.T, truth)
    assert found.kind == "rotation"
    torch.testing.assert_close(found.rotation, tilted, rtol=0, atol=1e-9)
    slightly = axis_angle_to_matrix(torch.tensor([0.2, 0.5, 0.0], dtype=torch.float64))
    assert fit_pose_alignment(truth @ slightly.T, truth).kind == "yaw"
    nothing = fit_pose_alignment(truth[:0], truth[:0])
    assert nothing.num_images == 0
    torch.testing.assert_close(nothing.rotation, torch.eye(3, dtype=torch.float64))


def test_collapsed_cameras_score_as_the_constant_one() -> None:
    truth = _orbit(60, seed=4)
    collapsed = orbit_rotations(torch.full((60,), 20.0), torch.full((60,), 10.0))
    found = fit_pose_alignment(collapsed, truth)
    constant = best_constant_camera(truth)
    within = (rotation_error_deg(constant.expand_as(truth), truth) < 30).double().mean()
    assert abs(found.fraction_within - float(within)) < 0.1
    assert found.fraction_within < 0.35


def test_the_constant_camera_is_the_most_common_one() -> None:
    common = orbit_rotations(torch.tensor([60.0, 62.0, 64.0, 190.0]), torch.tensor([10.0, 10.0, 10.0, 10.0]))
    torch.testing.assert_close(best_constant_camera(common), common[1])


def test_azimuths_and_their_spread() -> None:
    angles = torch.tensor([0.0, 30.0, -120.0, 90.0])
    torch.testing.assert_close(azimuths_deg(orbit_rotations(angles, torch.full((4,), 25.0))), angles.double())
    assert circular_std_deg(torch.full((5,), 77.0)) < 1e-5
    assert circular_std_deg(torch.tensor([170.0, -170.0])) == pytest.approx(
        circular_std_deg(torch.tensor([10.0, -10.0]))
    )
    expected = math.degrees(math.sqrt(-2 * math.log(math.cos(math.pi / 4))))
    assert circular_std_deg(torch.tensor([0.0, 90.0])) == pytest.approx(expected)
    assert circular_std_deg(torch.arange(12) * 30.0) > 200
    assert math.isnan(circular_std_deg(torch.zeros(0)))
