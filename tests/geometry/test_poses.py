"""Poses by their angles, bounded hypotheses, and framing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera
from raylift.geometry.camera_conventions import from_weak_perspective, to_weak_perspective
from raylift.geometry.camera_hypotheses import BIN_REACH, azimuths_of, bounded_hypotheses, known_hypotheses
from raylift.geometry.cameras import orbit_rotations, project
from raylift.geometry.framing import (
    FILL,
    box_of_mask,
    box_of_points,
    fitted_scale_and_shift,
    framed_pictures,
    framed_points,
)
from raylift.geometry.pose_grid import PoseRange, pose_grid, pose_quaternions
from raylift.geometry.rotations import quaternion_to_matrix

RANGES = PoseRange(azimuths=8, elevation_deg=(-10.0, 30.0), elevations=2, roll_deg=15.0, rolls=3)


def test_poses_without_roll_are_orbits() -> None:
    azimuth, elevation = torch.tensor([10.0, 200.0, -50.0]), torch.tensor([5.0, -20.0, 90.0])
    quaternions = pose_quaternions(torch.deg2rad(azimuth), torch.deg2rad(elevation), torch.zeros(3))
    expected = orbit_rotations(azimuth, elevation).float()
    torch.testing.assert_close(quaternion_to_matrix(quaternions), expected, atol=1e-6, rtol=0)


def test_a_roll_turns_the_picture_clockwise() -> None:
    right = torch.tensor([[[1.0, 0.0, 0.0]]])
    turned = right @ quaternion_to_matrix(pose_quaternions(*torch.deg2rad(torch.tensor([[0.0], [0.0], [30.0]])))).mT
    torch.testing.assert_close(turned[0, 0, :2], torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))


def test_a_grid_has_the_middles_of_its_ranges() -> None:
    grid = pose_grid(RANGES)
    assert len(grid.azimuth_deg) == RANGES.num_poses == 48
    assert grid.azimuth_deg[:9].tolist() == [0, 45, 90, 135, 180, 225, 270, 315, 0]
    assert grid.elevation_deg.unique().tolist() == [0, 20]
    torch.testing.assert_close(grid.roll_deg.unique(), torch.tensor([-10.0, 0.0, 10.0]), atol=1e-5, rtol=0)
    assert torch.equal(grid.azimuth_deg, grid.azimuth * 45.0)


@pytest.mark.parametrize("wanted", [{"elevation_deg": (20.0, 10.0)}, {"azimuths": 2}, {"rolls": 3}, {"roll_deg": -1.0}])
def test_impossible_ranges_are_refused(wanted: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PoseRange(**wanted)  # type: ignore[arg-type]


def test_hypotheses_stay_in_their_bounds_and_reach_them() -> None:
    """Whatever the numbers are: each azimuth in its bin, elevation and roll in their ranges."""
    numbers = torch.cat([torch.randn(20, 12, 6) * 10, torch.full((1, 12, 6), 50.0), torch.full((1, 12, 6), -50.0)])
    found = bounded_hypotheses(numbers, torch.zeros(22, 12), 1.8, RANGES)
    rotation = quaternion_to_matrix(found.quaternion)
    backward = -rotation[..., 2, :]
    azimuth = torch.rad2deg(torch.atan2(backward[..., 0], backward[..., 2]))
    elevation = torch.rad2deg(torch.asin(backward[..., 1].clamp(-1, 1)))
    roll = torch.rad2deg(torch.atan2(-rotation[..., 0, 1], -rotation[..., 1, 1]))
    away = (azimuth - torch.arange(12) * 30 + 180) % 360 - 180
    assert float(away.abs().max()) < BIN_REACH * 30 + 0.01
    assert -10.01 < float(elevation.min()) < -9.9
    assert 29.9 < float(elevation.max()) < 30.01
    assert 14.9 < float(roll.abs().max()) < 15.01
    assert float(away.abs().max()) > 15, "neighbouring bins meet"


def test_framing_ignores_scale_and_shift_and_gives_both_back() -> None:
    points = torch.rand(1, 30, 3) - 0.5
    quaternion = pose_quaternions(*torch.deg2rad(torch.tensor([[40.0], [20.0], [0.0]])))
    flat = points @ quaternion_to_matrix(quaternion).mT[..., :2]
    moved = 1.3 * flat + torch.tensor([0.1, -0.2])
    torch.testing.assert_close(framed_points(moved), framed_points(flat))
    torch.testing.assert_close(box_of_points(framed_points(flat)).half, torch.tensor([FILL]))
    scale, shift = fitted_scale_and_shift(box_of_points(moved), box_of_points(flat))
    torch.testing.assert_close(scale, torch.tensor([1.3]))
    torch.testing.assert_close(shift, torch.tensor([[0.1, -0.2]]))
    camera = from_weak_perspective(bounded_hypotheses(torch.zeros(1, 4, 6), torch.zeros(1, 4), 1.0, RANGES).best())
    assert project(camera, points)[0].shape == (1, 30, 2)


def test_framed_masks_ignore_scale_and_shift() -> None:
    axis = (2 * torch.arange(96) + 1) / 96 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")

    def ellipse(scale: float, shift_u: float, shift_v: float) -> torch.Tensor:
        inside = ((u - shift_u) / (0.6 * scale)).square() + ((v - shift_v) / (0.3 * scale)).square() < 1
        return inside.float()[None, None]

    masks = [ellipse(1.0, 0.0, 0.0), ellipse(1.2, 0.1, -0.2), ellipse(0.7, -0.25, 0.3)]
    framed = [framed_pictures(mask, box_of_mask(mask[:, 0]), 24) for mask in masks]
    for other in framed[1:]:
        assert float((other - framed[0]).abs().mean()) < 0.02
    seen = box_of_mask(framed[0][:, 0])
    torch.testing.assert_close(seen.half, torch.tensor([FILL]), atol=0.05, rtol=0)


def test_the_box_of_an_empty_mask_is_the_picture() -> None:
    box = box_of_mask(torch.zeros(1, 8, 8))
    assert torch.equal(box.center, torch.zeros(1, 2))
    assert torch.equal(box.half, torch.ones(1))


def test_known_cameras_are_hypotheses_with_all_probability_in_their_own_bin() -> None:
    azimuths = torch.tensor([3.0, 44.0, 181.0, -100.0], dtype=torch.float64)
    rotations = orbit_rotations(azimuths, torch.tensor([10.0, 40.0, -5.0, 20.0]))
    torch.testing.assert_close(azimuths_of(rotations), torch.deg2rad((azimuths + 180) % 360 - 180))
    shift = torch.tensor([[0.1, -0.2, 3.0]], dtype=torch.float64).expand(4, -1)
    focal, principal = torch.full((4, 2), 4.0, dtype=torch.float64), torch.full((4, 2), 0.05, dtype=torch.float64)
    camera = Camera(focal, principal, rotations, shift)
    known = known_hypotheses(to_weak_perspective(camera), 8)
    best = known.best()
    torch.testing.assert_close(known.probabilities.max(dim=1).values, torch.ones(4, dtype=torch.float64))
    assert known.logits.argmax(dim=1).tolist() == [0, 1, 4, 6]
    torch.testing.assert_close(quaternion_to_matrix(best.quaternion), rotations)
    # At the origin's depth both cameras see the same.
    points = torch.randn(4, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = (points * torch.tensor([0.3, 0.3, 0.0])) @ rotations
    seen, _ = project(camera, points)
    found, _ = project(from_weak_perspective(best), points)
    torch.testing.assert_close(found, seen)
    with pytest.raises(DataError, match="behind its camera"):
        to_weak_perspective(replace(camera, translation=-shift))
    # An orthographic camera is one already.
    torch.testing.assert_close(
        project(from_weak_perspective(to_weak_perspective(from_weak_perspective(best))), points)[0], found
    )
