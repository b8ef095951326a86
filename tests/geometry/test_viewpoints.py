"""PASCAL3D+'s viewpoints: the same pixels by its own steps, and a round trip."""

from __future__ import annotations

import math

import pytest
import torch

from raylift.core.errors import DataError
from raylift.geometry import viewpoints
from raylift.geometry.cameras import camera_centers, orbit_rotations, project
from tests.reference.cameras import to_viewpoint
from tests.reference.pascal3d_projection import project_annotated

SIZES = [(48, 64), (64, 48), (32, 32)]


def _viewpoints(count: int) -> tuple[viewpoints.Viewpoint, torch.Tensor, torch.Tensor]:
    """Random viewpoints, and the centre and longest edge of each one's CAD model."""
    draws = torch.rand(count, 11, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    viewpoint = viewpoints.Viewpoint(
        azimuth=2 * math.pi * draws[:, 0],
        elevation=math.pi * (draws[:, 1] - 0.5),
        theta=2 * math.pi * (draws[:, 2] - 0.5),
        distance=3 + 5 * draws[:, 3],
        focal_px=100 + 900 * draws[:, 4],
        principal_px=100 * draws[:, 5:7],
    )
    return viewpoint, draws[:, 7:10] - 0.5, 0.5 + 2 * draws[:, 10]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first_center", [0.5, 1.0])
def test_viewpoints(size: tuple[int, int], first_center: float) -> None:
    """The same pixels by PASCAL3D+'s own steps, and the same annotation back from the camera."""
    viewpoint, center, extent = _viewpoints(8)
    camera = viewpoints.from_viewpoint(viewpoint, size, center, extent, first_center)
    normalised = torch.rand(8, 20, 3, generator=torch.Generator().manual_seed(1)).double() - 0.5
    uv, depth = project(camera, normalised)
    assert (depth > 0).all()
    height, width = size
    for index in range(8):
        # From the common frame to the CAD file's units and axes: (x, y, z) is (x, z, -y) there.
        x, y, z = (normalised[index] * extent[index] + center[index]).T
        values = [float(value[index]) for value in viewpoint[:5]]
        pixels = project_annotated(torch.stack([x, -z, y], 1).numpy(), *values, *viewpoint.principal_px[index].tolist())
        outer = torch.from_numpy(pixels) + 0.5 - first_center
        torch.testing.assert_close((uv[index] + 1) / 2 * torch.tensor([width, height]), outer, atol=1e-9, rtol=0)
    for found, given in zip(to_viewpoint(camera, size, center, extent, first_center), viewpoint, strict=True):
        torch.testing.assert_close(found, given, atol=1e-9, rtol=0)


def test_a_viewpoint_without_roll_is_an_orbit() -> None:
    """Azimuth 0 sees the front, and azimuth 90 the side at +X."""
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    angles = torch.tensor([[0.0, 0.0], [90.0, 0.0], [30.0, 40.0]], dtype=torch.float64)
    azimuth, elevation = torch.deg2rad(angles).unbind(1)
    viewpoint = viewpoints.Viewpoint(azimuth, elevation, zero, 4 * one, 50 * one, torch.zeros(3, 2).double())
    camera = viewpoints.from_viewpoint(viewpoint, (10, 10), torch.zeros(3, 3).double(), one)
    torch.testing.assert_close(camera.rotation, orbit_rotations(*angles.unbind(1)))
    centers = camera_centers(camera)
    torch.testing.assert_close(centers[:2], torch.tensor([[0.0, 0.0, 4.0], [4.0, 0.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("name", ["distance", "focal_px"])
def test_viewpoints_that_see_nothing_are_refused(name: str) -> None:
    viewpoint, center, extent = _viewpoints(2)
    for value in (0.0, -1.0, math.nan):
        wrong = viewpoint._replace(**{name: torch.tensor([5.0, value], dtype=torch.float64)})
        with pytest.raises(DataError, match="distance" if name == "distance" else "focal"):
            viewpoints.from_viewpoint(wrong, (8, 8), center, extent)
    with pytest.raises(DataError, match="extent"):
        viewpoints.from_viewpoint(viewpoint, (8, 8), center, 0 * extent)
