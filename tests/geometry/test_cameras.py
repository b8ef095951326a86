"""Projection, rays and orbits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Camera
from raylift.geometry import cameras
from raylift.geometry.cameras import pixel_rays
from tests.reference.cameras import random_rotations


def _exact(rotations: torch.Tensor) -> torch.Tensor:
    """The nearest rotations, orthonormal to float64."""
    left, _, right = torch.linalg.svd(rotations)
    return left @ right


def random_cameras(count: int, projection: str = "perspective") -> Camera:
    generator = torch.Generator().manual_seed(count)
    translation = 0.3 * torch.rand(count, 3, generator=generator, dtype=torch.float64)
    translation[:, 2] += 2.5
    return Camera(
        focal=1 + torch.rand(count, 2, generator=generator, dtype=torch.float64),
        principal=0.2 * torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.1,
        rotation=_exact(random_rotations(count, generator).double()),
        translation=translation,
        projection=projection,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_unproject_inverts_project(projection: str) -> None:
    camera = random_cameras(5, projection)
    points = torch.rand(5, 50, 3, dtype=torch.float64) - 0.5
    torch.testing.assert_close(cameras.unproject(camera, *cameras.project(camera, points)), points, atol=1e-12, rtol=0)


def test_project_is_the_stated_equation() -> None:
    camera = random_cameras(2)
    points = torch.rand(2, 7, 3, dtype=torch.float64) - 0.5
    uv, depth = cameras.project(camera, points)
    for b in range(2):
        for n in range(7):
            x, y, z = camera.rotation[b] @ points[b, n] + camera.translation[b]
            assert float(depth[b, n]) == pytest.approx(float(z))
            assert float(uv[b, n, 0]) == pytest.approx(float(camera.focal[b, 0] * x / z + camera.principal[b, 0]))
            assert float(uv[b, n, 1]) == pytest.approx(float(camera.focal[b, 1] * y / z + camera.principal[b, 1]))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_project_gradients(projection: str) -> None:
    camera = random_cameras(2, projection)
    points = (torch.rand(2, 3, 3, dtype=torch.float64) - 0.5).requires_grad_()
    rotation = camera.rotation.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p, r: cameras.project(replace(camera, rotation=r), p), (points, rotation))


def test_points_at_the_camera_stay_finite() -> None:
    camera = cameras.orbit(20, 10)
    uv, depth = cameras.project(camera, cameras.camera_centers(camera)[:, None])
    assert torch.isfinite(uv).all()
    assert float(depth.abs()) < 1e-6


def test_project_checks_shapes() -> None:
    with pytest.raises(RuntimeError):
        cameras.project(cameras.orbit(0, 0), torch.zeros(1, 4, 2))


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_rays_pass_through_their_pixels(projection: str) -> None:
    camera = random_cameras(3, projection)
    origins, directions = pixel_rays(camera, 5, 8)
    along = (origins + 1.7 * directions).reshape(3, -1, 3)
    uv, _ = cameras.project(camera, along)
    expected = cameras.pixel_centers(5, 8, dtype=torch.float64).reshape(1, -1, 2).expand(3, -1, -1)
    torch.testing.assert_close(uv, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(3, 5, 8).double())


def test_pixel_centers_are_grid_samples_own() -> None:
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    grid = cameras.pixel_centers(3, 4)[None]
    torch.testing.assert_close(torch.nn.functional.grid_sample(image, grid, align_corners=False), image)


def test_azimuth_zero_sees_the_front_upright() -> None:
    camera = cameras.orbit(0, 0, distance=3.0)
    torch.testing.assert_close(cameras.camera_centers(camera), torch.tensor([[0.0, 0.0, 3.0]]))
    uv, _ = cameras.project(camera, torch.tensor([[[0.3, 0.0, 0.0], [0.0, 0.3, 0.0]]]))
    assert uv[0, 0, 0] > 0.1, "+X is on the right"
    assert uv[0, 1, 1] < -0.1, "+Y is up, where v is negative"
    torch.testing.assert_close(
        cameras.camera_centers(cameras.orbit(90, 0)), torch.tensor([[2.2, 0.0, 0.0]]), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        cameras.camera_centers(cameras.orbit(10, 90)), torch.tensor([[0.0, 2.2, 0.0]]), atol=1e-6, rtol=0
    )


def test_orbit_equals_look_at() -> None:
    views = cameras.orbit_views(30)
    up = torch.tensor([[0.0, 1.0, 0.0]]).expand(30, 3)
    rotation, translation = cameras.look_at(cameras.camera_centers(views), torch.zeros(30, 3), up)
    torch.testing.assert_close(rotation, views.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(translation, views.translation, atol=1e-6, rtol=0)


def test_thirty_views_are_twelve_degrees_apart_on_the_upper_hemisphere() -> None:
    centers = cameras.camera_centers(cameras.orbit_views(30, (0.0, 90.0))).double().numpy()
    azimuths = np.degrees(np.arctan2(centers[:, 0], centers[:, 2])) % 360
    above = np.hypot(centers[:, 0], centers[:, 2]) > 1e-3
    np.testing.assert_allclose(azimuths[above], 12.0 * np.arange(30)[above], atol=1e-3)
    assert (centers[:, 1] >= -1e-6).all()
    # Uniform in height on the sphere, whatever the count.
    heights = np.sort(centers[:, 1]) / 2.2
    np.testing.assert_allclose(heights, (np.arange(30) + 0.5) / 30, atol=0.06)


def test_random_views_go_round_from_anywhere_and_cover_the_band() -> None:
    count, band = 12, (10.0, 50.0)
    drawn = []
    for seed in range(60):
        centers = cameras.camera_centers(cameras.random_orbit_views(count, np.random.default_rng(seed), band))
        x, y, z = centers.double().numpy().T
        azimuths, sines = np.degrees(np.arctan2(x, z)) % 360, y / 2.2
        steps = np.diff(azimuths, append=azimuths[:1]) % 360
        assert steps.sum() == pytest.approx(360)
        assert steps.max() < 60  # neighbours are at most two strata apart
        # One elevation in each of the band's equal areas, in no order that azimuth would tell.
        low, high = np.sin(np.radians(band))
        strata = np.floor((sines - low) / (high - low) * count - 1e-4).astype(int)
        assert sorted(strata) == list(range(count))
        drawn.append(azimuths)
    # Every view's own azimuth is anywhere: none has a sector, and none is on a lattice.
    for view in range(count):
        angles = np.radians(np.array(drawn)[:, view])
        assert np.hypot(np.cos(angles).mean(), np.sin(angles).mean()) < 0.35
    phase = 12 * np.radians(np.array(drawn))
    assert np.hypot(np.cos(phase).mean(), np.sin(phase).mean()) < 0.15


def test_the_unit_cube_fits_into_every_default_view() -> None:
    corners = torch.tensor([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    views = cameras.orbit_views(64, (-90.0, 90.0))
    uv, _ = cameras.project(views, corners.expand(64, 8, 3))
    assert uv.abs().max() < 1


def test_orthographic_views_look_at_the_origin() -> None:
    directions = cameras.fibonacci_directions(50)
    views = cameras.orthographic_views(directions, 0.9)
    uv, depth = cameras.project(views, torch.zeros(50, 1, 3))
    torch.testing.assert_close(uv, torch.zeros(50, 1, 2))
    torch.testing.assert_close(depth, torch.full((50, 1), 2.0))
    torch.testing.assert_close(torch.linalg.det(views.rotation), torch.ones(50))
    assert directions.mean(0).norm() < 0.02


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: cameras.orbit(0, 0, distance=0), ConfigError),
        (lambda: cameras.orbit(0, 0, fov_deg=180), ConfigError),
        (lambda: cameras.orbit_views(0), ConfigError),
        (lambda: cameras.orbit_views(3, (50.0, 10.0)), ConfigError),
        (lambda: cameras.orbit_views(3, (0.0, 91.0)), ConfigError),
        (lambda: cameras.random_orbit_views(0, np.random.default_rng(0)), ConfigError),
        (lambda: cameras.random_orbit_views(3, np.random.default_rng(0), (50.0, 10.0)), ConfigError),
        (lambda: cameras.look_at(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 3)), DataError),
        (lambda: cameras.look_at(torch.eye(3)[:1], torch.zeros(1, 3), -torch.eye(3)[:1]), DataError),
    ],
)
def test_impossible_cameras_are_refused(call, error) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match="remedy"):
        call()
