"""Structure and cameras from keypoints, against the ones that made them."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import DataError
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.camera_hypotheses import orbit_quaternions
from raylift.geometry.cameras import project
from raylift.geometry.keypoint_structure import fit_weak_perspective, structure_from_keypoints
from raylift.geometry.rotations import quaternion_to_matrix, rotation_angle

POINTS = torch.tensor(
    [[0, 0.4, 0.1], [0, -0.3, 0], [0.2, 0, 0.1], [-0.2, 0, 0.1], [0, 0.1, 0.45], [0, 0, -0.45], [0.1, 0.3, 0.3]]
).double()
POINTS = torch.cat([POINTS, POINTS[-1:] * torch.tensor([-1.0, 1, 1])])
MIRROR = (0, 1, 3, 2, 4, 5, 7, 6)


def _cameras(count: int) -> WeakPerspective:
    draws = torch.Generator().manual_seed(1)
    azimuth = torch.rand(count, generator=draws) * 300 - 120
    quaternion = orbit_quaternions(azimuth, torch.rand(count, generator=draws) * 40 - 5).double()
    scale = 1.2 + 0.6 * torch.rand(count, generator=draws).double()
    return WeakPerspective(scale, 0.2 * torch.randn(count, 2, generator=draws).double(), quaternion)


def _seen(cameras: WeakPerspective) -> torch.Tensor:
    uv, _ = project(from_weak_perspective(cameras), POINTS.expand(len(cameras.scale), -1, -1))
    return uv


def test_a_camera_is_found_again() -> None:
    cameras = _cameras(5)
    weights = torch.ones(5, len(POINTS)).double()
    weights[:, 1] = 0
    seen = _seen(cameras)
    seen[:, 1] = 7.0  # not annotated, so it must not matter
    found = fit_weak_perspective(POINTS.expand(5, -1, -1), seen, weights)
    torch.testing.assert_close(found.scale, cameras.scale, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.translation, cameras.translation, rtol=0, atol=1e-4)
    angles = rotation_angle(quaternion_to_matrix(found.quaternion), quaternion_to_matrix(cameras.quaternion))
    assert float(angles.max()) < 1e-3


def test_too_few_keypoints_give_a_camera_all_the_same() -> None:
    found = fit_weak_perspective(POINTS[None], _seen(_cameras(1)), torch.zeros(1, len(POINTS)).double())
    assert all(bool(torch.isfinite(part).all()) for part in found)


def test_the_structure_is_found_again_with_keypoints_missing() -> None:
    """Up to scale and centre: upright, mirrored in x = 0, seen from above; left and right may have changed places."""
    cameras = _cameras(40)
    visible = (torch.rand(40, len(POINTS), generator=torch.Generator().manual_seed(2)) < 0.75).double()
    found = structure_from_keypoints(torch.cat([_seen(cameras), visible[..., None]], dim=2), MIRROR)
    low, high = POINTS.amin(dim=0), POINTS.amax(dim=0)
    true = (POINTS - (low + high) / 2) * 0.9 / (high - low).amax()
    signs = [torch.tensor([x, 1.0, z]).double() for x in (-1, 1) for z in (-1, 1)]
    assert min(float((found - true * sign).abs().max()) for sign in signs) < 0.03


def test_what_cannot_be_solved_is_refused() -> None:
    with pytest.raises(DataError, match="keypoints"):
        structure_from_keypoints(torch.zeros(10, 6, 3), tuple(range(6)))
