"""Random rotations, and the inverses of the conversions of ``geometry.camera_conventions``: what tests need."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.camera_conventions import ImageSize, PixelCamera, WeakPerspective
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix


def random_rotations(count: int, generator: torch.Generator) -> Float[Tensor, "B 3 3"]:
    """Rotations uniform over SO(3), from normalised Gaussian quaternions; float32."""
    return quaternion_to_matrix(torch.randn(count, 4, generator=generator, dtype=torch.float64)).float()


def to_pixels(camera: Camera, image_size: ImageSize, first_center: float = 0.0) -> PixelCamera:
    """The inverse of ``from_pixels``, of a perspective camera."""
    height, width = image_size
    half = camera.focal.new_tensor([width / 2, height / 2])
    intrinsics = torch.diag_embed(torch.cat([camera.focal * half, torch.ones_like(camera.focal[:, :1])], -1))
    intrinsics[:, :2, 2] = (camera.principal + 1) * half - 0.5 + first_center
    return PixelCamera(intrinsics, camera.rotation, camera.translation)


def to_weak_perspective(camera: Camera) -> WeakPerspective:
    """The inverse of ``from_weak_perspective``, of an orthographic camera of one focal length.

    The distance along the line of sight is not part of it.
    """
    shift = camera.principal + camera.focal * camera.translation[:, :2]
    return WeakPerspective(camera.focal[:, 0], shift, matrix_to_quaternion(camera.rotation))
