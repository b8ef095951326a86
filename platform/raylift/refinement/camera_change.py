"""A small change of a camera: rotation about the object's centre, shift and scale of the image."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from raylift.core.types import Camera
from raylift.geometry.rotations import axis_angle_to_matrix


class CameraChange(nn.Module):
    """Six numbers, zero for no change; for perspective and orthographic cameras alike.

    Attributes:
        turn: axis and angle, radians, applied after the camera's own rotation.
        shift: of the image, in half image sizes.
        log_scale: logarithm of the factor of the focal length.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.zeros(3))
        self.shift = nn.Parameter(torch.zeros(2))
        self.log_scale = nn.Parameter(torch.zeros(1))

    def apply_to(self, camera: Camera) -> Camera:
        """The changed camera, with gradients."""
        return replace(
            camera,
            rotation=axis_angle_to_matrix(self.turn) @ camera.rotation,
            principal=camera.principal + self.shift,
            focal=camera.focal * self.log_scale.exp(),
        )

    def square(self) -> Tensor:
        """Squared angle of the turn: unlike shift and scale, a turn can stand in for another shape."""
        return self.turn.square().sum()
