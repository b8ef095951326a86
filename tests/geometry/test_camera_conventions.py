"""Every convention: the same pixels by its own formula, and a round trip."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pytorch3d.renderer import OrthographicCameras, PerspectiveCameras

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry import camera_conventions as conventions
from raylift.geometry.cameras import camera_centers, orbit_poses, project
from raylift.geometry.rotations import random_rotations

SIZES = [(48, 64), (64, 48), (32, 32)]


def _cameras(count: int, projection: str = "perspective") -> Camera:
    generator = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(random_rotations(count, generator).double())
    return Camera(
        focal=1.5 + torch.rand(count, 2, generator=generator).double(),
        principal=0.2 * torch.rand(count, 2, generator=generator).double() - 0.1,
        rotation=left @ right,
        translation=torch.tensor([0.1, -0.2, 3.0]).double() + 0.1 * torch.rand(count, 3, generator=generator).double(),
        projection=projection,  # type: ignore[arg-type]
    )


def _points(count: int) -> torch.Tensor:
    return torch.rand(count, 20, 3, generator=torch.Generator().manual_seed(1)).double() - 0.5


def _assert_same(found: Camera, expected: Camera, atol: float = 1e-9) -> None:
    assert found.projection == expected.projection
    for name in ("focal", "principal", "rotation", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=atol, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
def test_pytorch3d(size: tuple[int, int], projection: str) -> None:
    camera = _cameras(4, projection)
    theirs = conventions.to_pytorch3d(camera, size)
    _assert_same(conventions.from_pytorch3d(theirs, size, camera.projection), camera)

    kind = PerspectiveCameras if projection == "perspective" else OrthographicCameras
    single = {name: value.float() for name, value in theirs._asdict().items()}
    image_size = torch.tensor([size]).expand(4, 2)
    screen = kind(**single, in_ndc=True, image_size=image_size).transform_points_screen(_points(4).float())
    height, width = size
    uv, _ = project(camera, _points(4))
    # Their screen coordinates run from 0 to W over the outer corners.
    expected = (uv + 1) / 2 * torch.tensor([width, height])
    torch.testing.assert_close(screen[..., :2].double(), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first_center", [0.0, 0.5, 1.0])
def test_opencv_pixels(size: tuple[int, int], first_center: float) -> None:
    camera = _cameras(4)
    pixel = conventions.to_pixels(camera, size, first_center)
    _assert_same(conventions.from_pixels(pixel, size, first_center), camera)
    in_camera = _points(4) @ pixel.rotation.mT + pixel.translation[:, None]
    homogeneous = in_camera @ pixel.intrinsics.mT
    columns_rows = homogeneous[..., :2] / homogeneous[..., 2:]
    uv, _ = project(camera, _points(4))
    height, width = size
    # The centre of pixel (i, j) is ((2 j + 1) / W - 1, (2 i + 1) / H - 1).
    expected = (2 * (columns_rows - first_center) + 1) / torch.tensor([width, height]) - 1
    torch.testing.assert_close(uv, expected, atol=1e-9, rtol=0)


def test_opencv_refuses_skew_and_orthographic() -> None:
    pixel = conventions.to_pixels(_cameras(1), (8, 8))
    pixel.intrinsics[:, 0, 1] = 0.3
    with pytest.raises(DataError, match="skew"):
        conventions.from_pixels(pixel, (8, 8))
    with pytest.raises(DataError, match="perspective"):
        conventions.to_pixels(_cameras(1, "orthographic"), (8, 8))
    with pytest.raises(DataError, match="0 x 8"):
        conventions.to_pixels(_cameras(1), (0, 8))


@pytest.mark.parametrize("z_up", [False, True])
def test_opengl(z_up: bool) -> None:
    camera = _cameras(4)
    pose = conventions.to_opengl(camera, z_up)
    _assert_same(conventions.from_opengl(pose, camera.focal, camera.principal, z_up), camera)


def test_blender_camera_in_front() -> None:
    """Blender's camera at (0, -3, 0), turned 90 degrees about X, looks along +Y at what faces -Y, with Z up."""
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, 0, -1, -3], [0, 1, 0, 0], [0, 0, 0, 1]]])
    camera = conventions.from_opengl(pose, torch.ones(1, 2), z_up=True)
    torch.testing.assert_close(camera_centers(camera), torch.tensor([[0.0, 0.0, 3.0]]))
    torch.testing.assert_close(camera.rotation[0], torch.diag(torch.tensor([1.0, -1.0, -1.0])))
    with pytest.raises(DataError, match="rigid"):
        conventions.from_opengl(pose * 2, torch.ones(1, 2))


def test_weak_perspective() -> None:
    generator = torch.Generator().manual_seed(5)
    weak = conventions.WeakPerspective(
        0.5 + torch.rand(4, generator=generator).double(),
        torch.rand(4, 2, generator=generator).double() - 0.5,
        torch.nn.functional.normalize(torch.randn(4, 4, generator=generator).double().abs(), dim=-1),
    )
    camera = conventions.from_weak_perspective(weak)
    # CMR: rotate by the quaternion product q (0, x) q*, scale, shift.
    w, vector, points = weak.quaternion[:, None, :1], weak.quaternion[:, None, 1:].expand(4, 20, 3), _points(4)
    cross = torch.linalg.cross(vector, points)
    rotated = points + 2 * w * cross + 2 * torch.linalg.cross(vector, cross)
    expected = weak.scale[:, None, None] * rotated[..., :2] + weak.translation[:, None]
    uv, depth = project(camera, points)
    torch.testing.assert_close(uv, expected)
    torch.testing.assert_close(depth, rotated[..., 2] + 5)
    for found, given in zip(conventions.to_weak_perspective(camera), weak, strict=True):
        torch.testing.assert_close(found, given)
    with pytest.raises(DataError, match="perspective"):
        conventions.to_weak_perspective(_cameras(1))
    with pytest.raises(DataError, match="one scale"):
        conventions.to_weak_perspective(_cameras(1, "orthographic"))


def _viewpoints() -> conventions.Pascal3dViewpoint:
    return conventions.Pascal3dViewpoint(
        torch.tensor([0.0, 30.0, 200.0, 359.0]).double(),
        torch.tensor([0.0, 20.0, -35.0, 80.0]).double(),
        torch.tensor([0.0, 10.0, -170.0, 45.0]).double(),
        torch.tensor([5.0, 7.0, 3.0, 12.0]).double(),
        torch.ones(4).double(),
        torch.tensor([[250.0, 190.0], [240.0, 180.0], [100.0, 90.0], [1.0, 300.0]]).double(),
    )


def test_pascal3d_is_its_projection_code() -> None:
    """The published projection: P = [M f, M f, -1] [R | -R C], a turn of the plane by theta, y flipped."""
    viewpoints, size = _viewpoints(), (375, 500)
    points = _points(4)
    uv, _ = project(conventions.from_pascal3d(viewpoints, size), points)
    for b in range(4):
        a, e, theta = (math.radians(float(angle[b])) for angle in viewpoints[:3])
        distance, focal = float(viewpoints.distance[b]), float(viewpoints.focal[b])
        center = [math.cos(e) * math.sin(a), -math.cos(e) * math.cos(a), math.sin(e)]
        center_t = distance * torch.tensor(center).double()
        a, e = -a, -(math.pi / 2 - e)
        about_z = torch.tensor([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]]).double()
        about_x = torch.tensor([[1, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]]).double()
        rotation = about_x @ about_z
        x, y, z = points[b].unbind(-1)
        theirs = torch.stack([x, -z, y], -1)  # our world in theirs: Z up, front along -Y
        in_camera = (theirs - center_t) @ rotation.T
        plane = 3000 * focal * in_camera[:, :2] / -in_camera[:, 2:]
        cosine, sine = math.cos(theta), math.sin(theta)
        plane = plane @ torch.tensor([[cosine, -sine], [sine, cosine]]).double().T
        pixels = plane * torch.tensor([1, -1]) + viewpoints.principal_px[b]
        expected = (2 * (pixels - 1) + 1) / torch.tensor([500, 375]) - 1
        torch.testing.assert_close(uv[b], expected, atol=1e-5, rtol=0)


def test_pascal3d_round_trip_and_orbit() -> None:
    viewpoints, size = _viewpoints(), (375, 500)
    camera = conventions.from_pascal3d(viewpoints, size)
    for found, given in zip(conventions.to_pascal3d(camera, size), viewpoints, strict=True):
        torch.testing.assert_close(found, given, atol=1e-6, rtol=0)
    flat = conventions.from_pascal3d(viewpoints._replace(theta_deg=torch.zeros(4).double()), size)
    orbit = orbit_poses(viewpoints.azimuth_deg, viewpoints.elevation_deg)
    torch.testing.assert_close(flat.rotation.float(), orbit.rotation, atol=1e-6, rtol=0)


def test_pascal3d_straight_above_round_trips_as_a_rotation() -> None:
    camera = orbit_poses(torch.tensor([40.0]), torch.tensor([90.0]))
    back = conventions.from_pascal3d(conventions.to_pascal3d(camera, (32, 32)), (32, 32))
    torch.testing.assert_close(back.rotation, camera.rotation.to(back.rotation.dtype), atol=1e-5, rtol=0)


def test_pascal3d_refuses_what_it_cannot_say() -> None:
    camera = orbit_poses(torch.tensor([40.0]), torch.tensor([10.0]))
    shifted = replace(camera, translation=camera.translation + 0.1)
    with pytest.raises(DataError, match="look at the origin"):
        conventions.to_pascal3d(shifted, (32, 32))
    with pytest.raises(DataError, match="one focal length"):
        conventions.to_pascal3d(camera, (32, 64))
