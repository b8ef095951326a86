"""Pose errors against the formulas of the literature, and up to symmetries; symmetries of planted solids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from raylift.geometry.rotations import axis_angle_to_matrix, quaternion_to_matrix
from raylift.metrics.rotation_symmetry import (
    SYMMETRIES,
    Symmetry,
    best_constant_pose,
    pose_error_deg,
    symmetry_of,
    turn_likeness,
)

GRID = np.stack(np.meshgrid(*[np.arange(32) - 15.5] * 3, indexing="ij"))


def turned(degrees: float, axis: int = 1) -> torch.Tensor:
    angles = torch.zeros(1, 3, dtype=torch.float64)
    angles[0, axis] = math.radians(degrees)
    return axis_angle_to_matrix(angles)


def rotations(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return quaternion_to_matrix(torch.randn(count, 4, generator=generator, dtype=torch.float64))


def test_the_error_is_the_angle_of_the_literature() -> None:
    one, other = rotations(200), rotations(200, 1)
    chordal = 2 * torch.asin((torch.linalg.matrix_norm(one - other) / (2 * math.sqrt(2))).clamp(max=1))
    torch.testing.assert_close(pose_error_deg(one, other), torch.rad2deg(chordal), rtol=0, atol=1e-4)
    for degrees in (0.0, 1e-6, 9.999, 30.0, 179.999999, 180.0):
        error = float(pose_error_deg(one[:1] @ turned(degrees, axis=0), one[:1])[0])
        assert error == pytest.approx(degrees, abs=2e-5)
    assert float(pose_error_deg(torch.full((1, 3, 3), torch.nan), one[:1])[0]) == 180.0


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_a_turn_of_the_group_costs_nothing_and_the_rest_is_kept(symmetry: Symmetry) -> None:
    truth = rotations(20)
    step = {"none": 360.0, "half_turn": 180.0, "quarter_turn": 90.0, "round": 13.7}[symmetry]
    for multiple in range(4):
        turn = turned(multiple * step)
        torch.testing.assert_close(
            pose_error_deg(truth @ turn, truth, symmetry), torch.zeros(20).double(), rtol=0, atol=1e-5
        )
        # A tilt about another axis stays, whatever the turn.
        found = pose_error_deg(truth @ turned(25.0, axis=0) @ turn, truth, symmetry)
        torch.testing.assert_close(found, torch.full((20,), 25.0).double(), rtol=0, atol=1e-4)


def test_the_error_up_to_a_group_is_the_least_of_its_turns() -> None:
    ours, theirs = rotations(30), rotations(30, 1)
    by_turn = torch.stack([pose_error_deg(ours, theirs @ turned(angle)) for angle in np.arange(0, 360, 0.25)])
    torch.testing.assert_close(pose_error_deg(ours, theirs, "round"), by_turn.amin(dim=0), rtol=0, atol=2e-2)
    quarter = torch.stack([by_turn[index * 360] for index in range(4)]).amin(dim=0)
    torch.testing.assert_close(pose_error_deg(ours, theirs, "quarter_turn"), quarter)
    assert (pose_error_deg(ours, theirs, "half_turn") >= quarter - 1e-9).all()


def test_the_best_constant_is_right_most_often() -> None:
    crowd = torch.cat([turned(float(angle)) for angle in (0, 8, 16, 24)])
    spread = torch.cat([turned(float(angle)) for angle in (100, 190, 280)])
    found = best_constant_pose(torch.cat([spread, crowd]))
    shares = [float((pose_error_deg(one.expand(7, 3, 3), torch.cat([spread, crowd])) < 30).double().mean())
              for one in (found, *spread, *crowd)]  # fmt: skip
    assert shares[0] == max(shares) == pytest.approx(4 / 7)
    # Of those, one with the most within 10 degrees.
    assert torch.equal(found, turned(8.0)[0])


def box(width: float, height: float, depth: float) -> np.ndarray:
    half = np.array([width, height, depth])[:, None, None, None] / 2
    return (np.abs(GRID) <= half).all(axis=0)


def disc(radius: float) -> np.ndarray:
    return (np.hypot(GRID[0], GRID[2]) <= radius) & (np.abs(GRID[1]) <= 6)


def seat() -> np.ndarray:
    """A seat with a back: it has no symmetry."""
    back = box(20, 28, 40) & (GRID[2] < -6)
    return (box(20, 6, 20) | back) & (np.abs(GRID[2]) <= 10)


def test_symmetries_of_solids() -> None:
    assert symmetry_of([disc(12)]) == "round"
    assert symmetry_of([box(20, 10, 20)]) == "quarter_turn"
    assert symmetry_of([box(28, 10, 14)]) == "half_turn"
    assert symmetry_of([seat()]) == "none"
    assert symmetry_of([]) == "none"
    # Most of a bed's volume is its body, but the headboard says where its head is.
    bed = box(20, 12, 30) | ((np.abs(GRID[0]) <= 10) & (np.abs(GRID[1]) <= 10) & (np.abs(GRID[2] + 14) <= 1))
    assert symmetry_of([bed]) == "none"
    assert symmetry_of([box(20, 12, 30)]) == "half_turn"
    # Half of them, or more, decide.
    assert symmetry_of([box(28, 10, 14), box(28, 10, 14), seat()]) == "half_turn"
    assert symmetry_of([seat(), seat(), disc(12)]) == "none"
    assert turn_likeness(np.zeros((32, 32, 32), bool), 90.0) == 0.0


def test_a_solid_is_as_like_its_turned_copy_as_they_overlap() -> None:
    solid = np.zeros((32, 32, 32), bool)
    solid[24:28, 10, 15:17] = True  # a bar along +X
    along = np.zeros((32, 32, 32), bool)
    along[15:17, 10, 4:8] = True  # a turn by 90 degrees about Y maps +X to -Z
    assert turn_likeness(solid, 0.0) == 1.0
    assert turn_likeness(solid, 90.0) == 0.0
    assert turn_likeness(solid | along, 90.0) == pytest.approx(0.5)
