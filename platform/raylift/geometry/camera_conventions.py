"""Conversion of cameras from other conventions.

Ours (``raylift.core.types``): camera axes x right, y down, z forward; image coordinates in [-1, 1], v down.

==================  =====================  =======================  ====================================================
convention          camera axes            image                    used by
==================  =====================  =======================  ====================================================
OpenCV pixel        right, down, forward   pixels, v down           K, [R | t]
weak perspective    right, down, forward   [-1, 1], v down          CMR, UMR: scale, (tx, ty), quaternion (w, x, y, z)
==================  =====================  =======================  ====================================================
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix

ImageSize = tuple[int, int]
"""(height, width) in pixels."""


class PixelCamera(NamedTuple):
    """Intrinsics in pixels, and world to camera in OpenCV axes."""

    intrinsics: Float[Tensor, "B 3 3"]
    rotation: Float[Tensor, "B 3 3"]
    translation: Float[Tensor, "B 3"]


class WeakPerspective(NamedTuple):
    """CMR's and UMR's camera: uv = scale * (R x)_xy + translation."""

    scale: Float[Tensor, "B"]
    translation: Float[Tensor, "B 2"]
    quaternion: Float[Tensor, "B 4"]


def _half_sizes(image_size: ImageSize, like: Tensor) -> Tensor:
    """(W / 2, H / 2)."""
    height, width = image_size
    if min(height, width) < 1:
        raise DataError(f"the image size is {height} x {width}", "pass its height and width in pixels")
    return torch.tensor([width / 2, height / 2], dtype=like.dtype, device=like.device)


def from_pixels(camera: PixelCamera, image_size: ImageSize, first_center: float = 0.0) -> Camera:
    """Convert an OpenCV camera in pixels.

    Args:
        camera: intrinsics without skew.
        image_size: size of the image that the intrinsics are for.
        first_center: coordinate of the first pixel's centre: 0 for OpenCV, 0.5 for COLMAP, 1 for MATLAB.

    Raises:
        DataError: the intrinsics have a skew.
    """
    matrix = camera.intrinsics
    if bool((matrix[:, 0, 1].abs() > 1e-6 * matrix[:, 0, 0].abs()).any()):
        raise DataError("the camera intrinsics have a skew", "undistort and rectify the images first")
    half = _half_sizes(image_size, matrix)
    return Camera(
        focal=torch.stack([matrix[:, 0, 0], matrix[:, 1, 1]], -1) / half,
        principal=(matrix[:, :2, 2] + 0.5 - first_center) / half - 1,
        rotation=camera.rotation,
        translation=camera.translation,
    )


def to_weak_perspective(camera: Camera) -> WeakPerspective:
    """The weak-perspective camera that sees the world's origin, and what is at its depth, as a camera does.

    A perspective camera's scale is its focal length over the origin's depth; the focal lengths' mean is taken.

    Raises:
        DataError: the origin is not in front of a perspective camera.
    """
    depth = camera.translation[:, 2] if camera.projection == "perspective" else torch.ones_like(camera.focal[:, 0])
    if bool((depth <= 0).any()):
        raise DataError("the object's centre is behind its camera", "check the camera's translation")
    scale = camera.focal / depth[:, None]
    return WeakPerspective(
        scale.mean(dim=-1),
        camera.principal + scale * camera.translation[:, :2],
        matrix_to_quaternion(camera.rotation),
    )


def from_weak_perspective(camera: WeakPerspective, depth_offset: float = 5.0) -> Camera:
    """Convert CMR's and UMR's camera to a scaled orthographic one.

    Args:
        camera: scale, shift and rotation; the quaternion is normalised.
        depth_offset: distance of the object along the line of sight: any value that keeps it in front (CMR uses 5).
    """
    count = camera.scale.shape[0]
    translation = camera.translation.new_zeros(count, 3)
    translation[:, 2] = depth_offset
    return Camera(
        focal=camera.scale[:, None].expand(-1, 2),
        principal=camera.translation,
        rotation=quaternion_to_matrix(camera.quaternion),
        translation=translation,
        projection="orthographic",
    )
