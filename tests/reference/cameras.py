"""Random rotations, and the inverses of the conversions of ``geometry.camera_conventions``: what tests need."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.camera_conventions import ImageSize, PixelCamera, WeakPerspective
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_to_matrix
from raylift.geometry.viewpoints import Viewpoint


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


def to_viewpoint(
    camera: Camera,
    image_size: ImageSize,
    center: Float[Tensor, "B 3"],
    extent: Float[Tensor, "B"],
    first_center: float = 1.0,
) -> Viewpoint:
    """The inverse of ``from_viewpoint``: azimuth in [0, 2 pi), elevation in (-pi/2, pi/2), theta in [-pi, pi)."""
    height, width = image_size
    half = camera.focal.new_tensor([width / 2, height / 2])
    in_cad_units = camera.translation * extent[:, None] - (camera.rotation @ center[..., None]).squeeze(-1)
    backward, sideways = -camera.rotation[:, 2], camera.rotation[:, :2]
    azimuth = torch.atan2(backward[:, 0], backward[:, 2]) % (2 * torch.pi)
    right = torch.stack([azimuth.cos(), 0 * azimuth, -azimuth.sin()], -1)
    along = (sideways * right[:, None]).sum(-1)
    return Viewpoint(
        azimuth=azimuth,
        elevation=torch.asin(backward[:, 1]),
        theta=torch.atan2(-along[:, 1], along[:, 0]),
        distance=in_cad_units[:, 2],
        focal_px=(camera.focal * half)[:, 0],
        principal_px=(camera.principal + 1) * half - 0.5 + first_center,
    )
