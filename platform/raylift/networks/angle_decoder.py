"""One view per image as two unbounded angles (the shelf-supervised original)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import ConfigError
from raylift.geometry.camera_hypotheses import CameraHypotheses
from raylift.geometry.pose_grid import pose_quaternions


class AngleDecoder(nn.Module):
    """Maps the image's feature to an azimuth and an elevation; scale and shift are fixed, crops being framed alike.

    The original (Ye et al. 2021) leaves both angles unbounded. Without a bound nothing keeps a camera on the side of
    the elevation's range where the images were taken: see ``camera_decoder.BoundedCameraDecoder``.

    Args:
        in_features: size of the image's feature.
        scale: image half-widths per world unit.

    Raises:
        ConfigError: a scale that is not positive.
    """

    def __init__(self, in_features: int, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"cameras of scale {scale}", "use a scale above 0, such as 1.8")
        self.scale = scale
        self.head = nn.Linear(in_features, 2)

    def forward(self, feature: Float[Tensor, "B D"]) -> CameraHypotheses:
        """One hypothesis per image: azimuth pi n_0 and elevation pi n_1 / 2, in radians."""
        numbers = self.head(feature)
        azimuth, elevation = math.pi * numbers[:, :1], math.pi / 2 * numbers[:, 1:]
        return CameraHypotheses(
            scale=torch.full_like(azimuth, self.scale),
            translation=numbers.new_zeros(len(numbers), 1, 2),
            quaternion=pose_quaternions(azimuth, elevation, torch.zeros_like(azimuth)),
            logits=torch.zeros_like(azimuth),
        )
