"""Transferred keypoints and pose errors on cases with known answers; states that add."""

from __future__ import annotations

import math

import numpy as np
import torch

from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.metrics.keypoint_transfer import KeypointCount, count_correct_keypoints, transfer_keypoints
from raylift.metrics.pose import rotation_error_deg
from tests.reference.cameras import random_rotations


def test_keypoints_follow_their_vertices() -> None:
    source = np.array([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5]])
    target = source[:, ::-1] + 0.1
    keypoints = np.array([[0.45, 0.02], [0.01, 0.6]])
    moved = transfer_keypoints(keypoints, source, target)
    np.testing.assert_array_equal(moved, target[[1, 2]])
    hidden = transfer_keypoints(keypoints, source, target, np.array([True, False, True]))
    np.testing.assert_array_equal(hidden, target[[0, 2]])


def test_pck_counts_and_adds() -> None:
    truth = np.zeros((3, 2))
    moved = np.array([[0.19, 0.0], [0.21, 0.0], [0.0, 0.0]])
    count = count_correct_keypoints(moved, truth, np.array([True, True, False]), size=2.0)
    assert count == KeypointCount(1, 2)
    assert (count + KeypointCount(2, 2)).pck == 0.75
    assert math.isnan(KeypointCount().pck)


def test_rotation_errors_in_degrees() -> None:
    angles = torch.tensor([0.0, 5.0, 90.0, 179.0], dtype=torch.float64)
    axis = torch.nn.functional.normalize(torch.randn(4, 3, dtype=torch.float64), dim=-1)
    turns = axis_angle_to_matrix(torch.deg2rad(angles)[:, None] * axis)
    base = random_rotations(4, torch.Generator().manual_seed(0)).double()
    found = rotation_error_deg(base @ turns, base)
    torch.testing.assert_close(found, angles, rtol=0, atol=1e-4)
