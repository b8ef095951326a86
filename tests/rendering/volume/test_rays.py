"""Where samples are: against the camera convention and a box cut by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from raylift.core.types import Projection
from raylift.geometry.cameras import pixel_centers, pixel_rays, project
from raylift.rendering.volume.rays import sample_rays
from tests.rendering.volume.scenes import cameras


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_samples_project_to_their_pixel_at_their_depth(projection: Projection) -> None:
    camera = cameras(3, projection)
    rays = sample_rays(camera, 6, 0.55, 5)
    expected = pixel_centers(6, 6, dtype=torch.float64).reshape(36, 2)
    hit = rays.spacing > 0
    assert 0.3 < float(hit.double().mean()) < 1
    for index in range(5):
        uv, depth = project(camera, rays.start + index * rays.step)
        torch.testing.assert_close(uv[hit], expected.expand(3, -1, -1)[hit])
        torch.testing.assert_close(depth[hit], (rays.depth + index * rays.depth_step)[hit])


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_samples_are_the_midpoints_of_what_the_box_cuts_out(projection: Projection) -> None:
    camera, half, num_samples = cameras(3, projection), 0.4, 7
    rays = sample_rays(camera, 8, half, num_samples)
    origins, directions = (part.flatten(1, 2) for part in pixel_rays(camera, 8, 8))
    # Lengths inside the box by brute force: the share of points along the ray that are in it.
    ts = torch.linspace(0, 6, 60_001, dtype=torch.float64)
    for view, pixel in ((0, 20), (1, 36), (2, 27), (0, 0), (2, 43)):
        points = origins[view, pixel] + ts[:, None] * directions[view, pixel]
        inside = (points.abs() < half).all(-1)
        length = float(inside.double().sum() * (ts[1] - ts[0]))
        assert float(rays.spacing[view, pixel]) * num_samples == pytest.approx(length, abs=3e-4)
        if length > 0:
            first = points[inside][0] + length / (2 * num_samples) * directions[view, pixel]
            torch.testing.assert_close(rays.start[view, pixel], first, rtol=0, atol=3e-4)
            torch.testing.assert_close(
                rays.step[view, pixel], length / num_samples * directions[view, pixel], rtol=0, atol=1e-4
            )


def test_a_camera_inside_the_box_sees_what_is_before_it() -> None:
    camera = cameras(1)
    camera = replace(camera, translation=torch.tensor([[0.0, 0.0, 0.1]], dtype=torch.float64))
    rays = sample_rays(camera, 4, 0.55, 3)
    assert bool((rays.spacing > 0).all())
    torch.testing.assert_close(rays.depth, rays.depth_step / 2)


def test_rays_along_an_axis_have_finite_gradients() -> None:
    """The middle ray of an odd image, straight from the front: two components of its direction are 0."""
    camera = cameras(1)
    camera = replace(
        camera,
        principal=torch.zeros(1, 2, dtype=torch.float64),
        rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))[None].requires_grad_(),
        translation=torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64).requires_grad_(),
    )
    rays = sample_rays(camera, 3, 0.5, 4)
    assert rays.spacing[0, 4].item() == pytest.approx(0.25)
    torch.testing.assert_close(rays.start[0, 4], torch.tensor([0, 0, 0.375], dtype=torch.float64))
    (rays.start.sum() + rays.spacing.sum() + rays.depth.sum()).backward()
    for leaf in (camera.rotation, camera.translation):
        assert leaf.grad is not None
        assert bool(torch.isfinite(leaf.grad).all())
