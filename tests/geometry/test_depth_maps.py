"""Positions and normals from depth, against planes."""

from __future__ import annotations

import pytest
import torch

from raylift.core.types import Camera
from raylift.geometry.cameras import orbit, pixel_centers, pixel_rays
from raylift.geometry.depth_maps import DepthSurface, pixel_at, positions_at, surface_at

SIDE = 24


def plane_depth(camera: Camera, normal: torch.Tensor, offset: float) -> torch.Tensor:
    """z of the plane normal . x = offset at every pixel, float64 [1, 1, H, W]."""
    origins, directions = pixel_rays(camera, SIDE, SIDE)
    along = (offset - origins @ normal) / (directions @ normal)
    hit = origins + along[..., None] * directions
    in_camera = hit.reshape(1, -1, 3) @ camera.rotation.mT + camera.translation[:, None]
    return in_camera[..., 2].reshape(1, 1, SIDE, SIDE)


@pytest.fixture
def camera() -> Camera:
    return orbit(35.0, 20.0).to("cpu", torch.float64)


def test_a_place_is_in_the_pixel_whose_center_is_nearest() -> None:
    centers = pixel_centers(6, 4).reshape(1, -1, 2)
    half = torch.tensor([1 / 4, 1 / 6])
    for shift in (-0.99, 0.0, 0.99):
        assert pixel_at(centers + shift * half, 6, 4).tolist() == [list(range(24))]
    beyond = torch.tensor([[[-3.0, -torch.inf], [torch.inf, 1.0], [torch.nan, 0.0]]])
    assert pixel_at(beyond, 6, 4).tolist() == [[0, 23, 3 * 4 + 2]]


def test_a_plane_has_its_position_and_normal_at_every_pixel(camera: Camera) -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.5, 0.6, 0.4], dtype=torch.float64), dim=0)
    depth = plane_depth(camera, normal, 0.1)
    pixels = torch.arange(SIDE * SIDE)[None]
    position, found = surface_at(depth, camera, pixels)
    torch.testing.assert_close(position, positions_at(depth, camera, pixels))
    torch.testing.assert_close(position @ normal, torch.full_like(position[..., 0], 0.1))
    torch.testing.assert_close(found, normal.expand_as(found), rtol=0, atol=1e-7)


def test_a_normal_keeps_to_its_own_side_of_an_edge(camera: Camera) -> None:
    """Two planes behind one another, and nothing beside them: no normal mixes two of the three."""
    normals = torch.nn.functional.normalize(torch.tensor([[0.5, 0.6, 0.4], [0.2, 0.1, 0.9]]).double(), dim=1)
    near, far = plane_depth(camera, normals[0], 0.2), plane_depth(camera, normals[1], -0.6)
    depth = torch.cat([near[..., :9], far[..., 9:18], torch.zeros_like(far[..., 18:])], -1)
    _, found = surface_at(depth, camera, torch.arange(SIDE * SIDE)[None])
    found = found.reshape(SIDE, SIDE, 3)
    torch.testing.assert_close(found[:, :9], normals[0].expand(SIDE, 9, 3), rtol=0, atol=1e-7)
    torch.testing.assert_close(found[:, 9:18], normals[1].expand(SIDE, 9, 3), rtol=0, atol=1e-7)
    assert not bool(found[:, 18:].any())


def test_a_pixel_without_neighbors_has_no_normal(camera: Camera) -> None:
    depth = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.float64)
    depth[0, 0, 5, 7] = 2.0
    _, found = surface_at(depth, camera, torch.tensor([[5 * SIDE + 7]]))
    assert not bool(found.any())


def test_normals_face_orthographic_cameras() -> None:
    one = orbit(35.0, 20.0)
    camera = Camera(one.focal / 2.2, one.principal, one.rotation, one.translation, "orthographic").to(
        "cpu", torch.float64
    )
    normal = torch.nn.functional.normalize(torch.tensor([0.5, 0.6, 0.4], dtype=torch.float64), dim=0)
    _, found = surface_at(plane_depth(camera, normal, 0.0), camera, torch.arange(SIDE * SIDE)[None])
    torch.testing.assert_close(found, normal.expand_as(found), rtol=0, atol=1e-7)


def test_a_surface_that_is_asked_often_answers_the_same(camera: Camera) -> None:
    both = Camera.stack([camera, orbit(-80.0, 5.0).to("cpu", torch.float64)])
    depth = 2 + 0.3 * torch.rand(2, 1, SIDE, SIDE, dtype=torch.float64)
    depth[:, :, :4] = 0
    surface = DepthSurface(depth, both)
    for count in (300, 900, 5):  # more than the pixels of a map by the second time
        pixels = torch.randint(0, SIDE * SIDE, (2, count))
        for found, expected in zip(surface.at(pixels), surface_at(depth, both, pixels), strict=True):
            # Matrix products of a few rows are rounded in another order.
            torch.testing.assert_close(found, expected, rtol=0, atol=0 if count > 16 else 1e-13)
        for found, expected in zip(surface[1:].at(pixels[1:]), surface.at(pixels), strict=True):
            torch.testing.assert_close(found, expected[1:])
