"""The family's cameras: those in a mirror, those of random views, and which hypothesis a picture is taken by."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.camera_prior import CameraPrior
from raylift.geometry.rotations import quaternion_to_matrix


def mirrored_cameras(cameras: CameraHypotheses, mirrored: Bool[Tensor, "B"]) -> CameraHypotheses:
    """The cameras of images that were mirrored left to right, out of those of the images themselves.

    With F = diag(-1, 1, 1) the mirrored world is seen by F R F, the quaternion (w, x, -y, -z), and -t_u.
    """
    flip = mirrored[:, None, None]
    shift = cameras.translation * cameras.translation.new_tensor([-1.0, 1.0])
    turn = cameras.quaternion * cameras.quaternion.new_tensor([1.0, 1.0, -1.0, -1.0])
    return replace(
        cameras,
        translation=torch.where(flip, shift, cameras.translation),
        quaternion=torch.where(flip, turn, cameras.quaternion),
    )


def framed_camera(vertices: Float[Tensor, "B V 3"], quaternion: Float[Tensor, "B 4"], fill: float) -> WeakPerspective:
    """Cameras of given rotations that show each shape in the middle, its longest side ``fill`` of the picture's.

    Real images are crops around their objects; so must random views be, or a critic tells them by their margins. The
    frame is a constant: a shape must not grow to fill it.
    """
    rotated = vertices.detach() @ quaternion_to_matrix(quaternion).mT[:, :, :2]
    low, high = rotated.amin(dim=1), rotated.amax(dim=1)
    scale = 2 * fill / (high - low).amax(dim=1).clamp(min=1e-6)
    return WeakPerspective(scale, -scale[:, None] * (low + high) / 2, quaternion)


def random_cameras(
    prior: CameraPrior, vertices: Float[Tensor, "B V 3"], keys: Int[Tensor, "B"], seed: int, step: int, fill: float
) -> Camera:
    """cam' of equation 36, drawn for (seed, step, sample), framed as the crops are."""
    quaternion = prior.draw(keys, seed, step).quaternion.to(vertices.dtype)
    return from_weak_perspective(framed_camera(vertices, quaternion, fill))


def roll_error(quaternion: Float[Tensor, "*B 4"]) -> Float[Tensor, "*B"]:
    """1 - cos of the angle in the image between the object's up and the image's, in [0, 2]: 0 for an upright camera."""
    # The world's up in camera axes is the rotation's second column; the camera's second axis points down the image.
    across, down = quaternion_to_matrix(quaternion)[..., :2, 1].unbind(-1)
    return 1 + down / (across.square() + down.square() + 1e-6).sqrt()
