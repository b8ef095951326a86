"""Moving a reconstruction between worlds leaves the picture that it was made of."""

from __future__ import annotations

from dataclasses import replace

import torch

from raylift.core.types import Camera
from raylift.geometry.cameras import orbit, orbit_rotations, project
from raylift.geometry.placement import place_in_view

VERTICES = 0.5 * torch.nn.functional.normalize(
    torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1
)


def _weak(azimuth_deg: float, scale: float) -> Camera:
    rotation = orbit_rotations(torch.tensor([azimuth_deg]), torch.tensor([10.0]))
    return Camera(
        torch.full((1, 2), scale, dtype=torch.float64),
        torch.tensor([[0.1, -0.05]], dtype=torch.float64),
        rotation,
        torch.tensor([[0.0, 0.0, 5.0]], dtype=torch.float64),
        "orthographic",
    )


def test_the_same_camera_moves_nothing() -> None:
    for camera in (_weak(30.0, 1.3), orbit(40.0, 20.0)):
        torch.testing.assert_close(place_in_view(VERTICES, camera, camera), VERTICES, rtol=0, atol=1e-6)


def test_between_orthographic_cameras_the_picture_is_the_same() -> None:
    own, other = _weak(30.0, 1.3), _weak(-70.0, 0.9)
    moved = place_in_view(VERTICES, own, other)
    torch.testing.assert_close(project(other, moved[None])[0], project(own, VERTICES[None])[0], rtol=0, atol=1e-9)
    ratio = torch.pdist(moved) / torch.pdist(VERTICES)
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1.3 / 0.9))


def test_another_frame_of_the_world_does_not_matter() -> None:
    seen = orbit(40.0, 20.0).to("cpu", torch.float64)
    turn = orbit_rotations(torch.tensor([77.0]), torch.tensor([-30.0]))[0]
    turned = replace(seen, rotation=seen.rotation @ turn.T)
    torch.testing.assert_close(place_in_view(VERTICES @ turn.T, turned, seen), VERTICES, rtol=0, atol=1e-6)


def test_a_distant_perspective_camera_agrees_with_its_weak_perspective() -> None:
    far = orbit(40.0, 20.0, distance=50.0, fov_deg=1.5).to("cpu", torch.float64)
    weak = replace(far, focal=far.focal / 50.0, projection="orthographic")
    torch.testing.assert_close(place_in_view(VERTICES, weak, far), VERTICES, rtol=0, atol=1e-6)
    near = orbit(40.0, 20.0).to("cpu", torch.float64)
    scale = near.focal / near.translation[:, 2:]
    placed = place_in_view(VERTICES, replace(near, focal=scale, projection="orthographic"), near)
    assert (project(near, placed[None])[0] - project(near, VERTICES[None])[0]).abs().max() < 1e-5
