"""Every convention: the same pixels by its own formula, and a round trip."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry import camera_conventions as conventions
from raylift.geometry.cameras import project
from tests.reference.cameras import random_rotations, to_pixels, to_weak_perspective

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
@pytest.mark.parametrize("first_center", [0.0, 0.5, 1.0])
def test_opencv_pixels(size: tuple[int, int], first_center: float) -> None:
    camera = _cameras(4)
    pixel = to_pixels(camera, size, first_center)
    _assert_same(conventions.from_pixels(pixel, size, first_center), camera)
    in_camera = _points(4) @ pixel.rotation.mT + pixel.translation[:, None]
    homogeneous = in_camera @ pixel.intrinsics.mT
    columns_rows = homogeneous[..., :2] / homogeneous[..., 2:]
    uv, _ = project(camera, _points(4))
    height, width = size
    # The centre of pixel (i, j) is ((2 j + 1) / W - 1, (2 i + 1) / H - 1).
    expected = (2 * (columns_rows - first_center) + 1) / torch.tensor([width, height]) - 1
    torch.testing.assert_close(uv, expected, atol=1e-9, rtol=0)


def test_opencv_refuses_skew_and_images_without_pixels() -> None:
    pixel = to_pixels(_cameras(1), (8, 8))
    pixel.intrinsics[:, 0, 1] = 0.3
    with pytest.raises(DataError, match="skew"):
        conventions.from_pixels(pixel, (8, 8))
    with pytest.raises(DataError, match="0 x 8"):
        conventions.from_pixels(to_pixels(_cameras(1), (8, 8)), (0, 8))


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
    for found, given in zip(to_weak_perspective(camera), weak, strict=True):
        torch.testing.assert_close(found, given)
