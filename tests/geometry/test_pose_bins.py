"""Angles of rotations, and their bins."""

from __future__ import annotations

import math

import torch

from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.pose_bins import bin_centers, bins_of
from raylift.geometry.pose_grid import pose_angles, pose_quaternions
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix, rotation_angle


def test_angles_are_the_inverse_of_the_pose() -> None:
    draws = torch.Generator().manual_seed(0)
    angles = (2 * torch.rand(200, 3, generator=draws, dtype=torch.float64) - 1) * torch.tensor([1, 0.49, 1]) * math.pi
    rotation = quaternion_to_matrix(pose_quaternions(*angles.unbind(-1)))
    torch.testing.assert_close(pose_angles(rotation), angles, rtol=0, atol=1e-9)
    orbit = orbit_rotations(torch.tensor([36.0]), torch.tensor([25.0]))
    torch.testing.assert_close(torch.rad2deg(pose_angles(orbit)), torch.tensor([[36.0, 25.0, 0.0]]).double())


def test_any_rotation_comes_back_from_its_angles_even_from_straight_above() -> None:
    draws = torch.Generator().manual_seed(1)
    any_rotation = quaternion_to_matrix(torch.randn(200, 4, generator=draws, dtype=torch.float64))
    above = torch.stack([torch.tensor([0.3, sign * math.pi / 2, -1.0]).double() for sign in (1, -1)])
    rotation = torch.cat([any_rotation, quaternion_to_matrix(pose_quaternions(*above.unbind(-1)))])
    back = quaternion_to_matrix(pose_quaternions(*pose_angles(rotation).unbind(-1)))
    assert float(rotation_angle(rotation, back).max()) < 1e-7
    assert matrix_to_quaternion(back).isfinite().all()


def test_every_angle_is_within_half_a_bin_of_its_center() -> None:
    angles = torch.linspace(-math.pi, math.pi, 301, dtype=torch.float64)[:-1, None].expand(-1, 3)
    for num_bins in (3, 8, 21):
        bins = bins_of(angles, num_bins)
        centers = torch.take_along_dim(bin_centers(num_bins, angles).T, bins, dim=0)
        off = torch.atan2((angles - centers).sin(), (angles - centers).cos())
        assert float(off.abs().max()) <= math.pi / num_bins + 1e-9
        assert set(bins[:, 0].tolist()) == set(bins[:, 2].tolist()) == set(range(num_bins))


def test_upright_images_are_in_the_middle_of_a_bin_and_azimuths_begin_at_the_front() -> None:
    """As StarMap counts them: azimuths from an edge at 0, elevation and roll from a centre at 0."""
    centers = bin_centers(21, torch.zeros(1))
    torch.testing.assert_close(torch.rad2deg(centers[:, 0]), torch.tensor([360 / 42, 0.0, 0.0]))
    assert bins_of(torch.deg2rad(torch.tensor([[1.0, 8.0, -8.0], [-1.0, 9.0, -9.0]])), 21).tolist() == [
        [0, 0, 0],
        [20, 1, 20],
    ]
