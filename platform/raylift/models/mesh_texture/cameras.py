"""The model's cameras: mirrored cameras, cameras of random views, and the roll error."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.rotations import quaternion_multiply, quaternion_to_matrix


def mirrored_cameras(cameras: CameraHypotheses, mirrored: Bool[Tensor, "B"]) -> CameraHypotheses:
    """Convert the cameras of images to those of the images mirrored left to right.

    With F = diag(-1, 1, 1) the camera of the mirrored world is F R F, the quaternion (w, x, -y, -z), and -t_u.
    """
    flip = mirrored[:, None, None]
    shift = cameras.translation * constant([-1.0, 1.0], cameras.translation)
    turn = cameras.quaternion * constant([1.0, 1.0, -1.0, -1.0], cameras.quaternion)
    return replace(
        cameras,
        translation=torch.where(flip, shift, cameras.translation),
        quaternion=torch.where(flip, turn, cameras.quaternion),
    )


def framed_camera(vertices: Float[Tensor, "B V 3"], quaternion: Float[Tensor, "B 4"], fill: float) -> WeakPerspective:
    """Make cameras of given rotations that centre each shape, with its longest side ``fill`` of the image's.

    Real images are crops around their objects; random views must be too, or a critic recognises them by their margins.
    The frame has no gradient: a shape must not grow to fill it.
    """
    rotated = vertices.detach() @ quaternion_to_matrix(quaternion).mT[:, :, :2]
    low, high = rotated.amin(dim=1), rotated.amax(dim=1)
    scale = 2 * fill / (high - low).amax(dim=1).clamp(min=1e-6)
    return WeakPerspective(scale, -scale[:, None] * (low + high) / 2, quaternion)


def turned_quaternions(
    quaternion: Float[Tensor, "B 4"], turns_deg: tuple[float, float], shares: Float[Tensor, "B"]
) -> Float[Tensor, "B 4"]:
    """Turn the object about its up axis.

    Args:
        turns_deg: lowest and highest angle, degrees.
        shares: position of each sample's angle between them, in [0, 1).
    """
    half = torch.deg2rad(turns_deg[0] + (turns_deg[1] - turns_deg[0]) * shares.to(quaternion.dtype)) / 2
    none = torch.zeros_like(half)
    return quaternion_multiply(quaternion, torch.stack([half.cos(), none, half.sin(), none], dim=-1))


def roll_error(quaternion: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B"]:
    """1 - cos of the angle in the image between the object's up and the image's, in [0, 2]: 0 for an upright camera."""
    # The world's up in camera axes is the rotation's second column; the camera's second axis points down the image.
    across, down = quaternion_to_matrix(quaternion)[..., :2, 1].unbind(-1)
    return 1 + down / (across.square() + down.square() + 1e-6).sqrt()
