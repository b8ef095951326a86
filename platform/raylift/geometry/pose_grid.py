"""Poses by azimuth, elevation and roll: to rotations and back, their ranges, and a grid over those ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.geometry.rotations import quaternion_multiply


@dataclass(frozen=True)
class PoseRange:
    """Possible poses, and the grid to search them.

    An x-symmetric shape at (azimuth, elevation) has the silhouette of the one at (180 - azimuth, -elevation) under
    orthographic projection. So a range that is not symmetric about elevation 0 distinguishes front from back.

    Attributes:
        azimuths: number of grid values around the object, the first at 0.
        elevation_deg: lowest and highest elevation; 0 is level, 90 straight above.
        elevations: number of grid values, the centres of equal parts of the range.
        roll_deg: largest rotation of the image about its centre, either way; 0 for upright images.
        rolls: number of grid values, the centres of equal parts of [-roll_deg, roll_deg].
    """

    azimuths: int = 24
    elevation_deg: tuple[float, float] = (0.0, 52.0)
    elevations: int = 4
    roll_deg: float = 0.0
    rolls: int = 1

    def __post_init__(self) -> None:
        low, high = self.elevation_deg
        if not -90 <= low < high <= 90:
            raise ConfigError(f"elevation_deg is ({low}, {high})", "use (lowest, highest) within -90 and 90")
        if not 0 <= self.roll_deg <= 180:
            raise ConfigError(f"roll_deg is {self.roll_deg}", "use the largest roll, 0 to 180 degrees")
        if self.azimuths < 4 or self.elevations < 1 or self.rolls < 1:
            raise ConfigError(
                f"the pose grid is {self.azimuths} x {self.elevations} x {self.rolls}",
                "use at least 4 azimuths, 1 elevation and 1 roll",
            )
        if self.rolls > 1 and self.roll_deg == 0:
            raise ConfigError(f"rolls is {self.rolls}, but roll_deg is 0", "set roll_deg above 0, or rolls to 1")

    @property
    def num_poses(self) -> int:
        return self.azimuths * self.elevations * self.rolls


@dataclass(frozen=True)
class PoseGrid:
    """All poses of a range, the azimuth changing fastest, then the roll.

    Attributes:
        azimuth_deg, elevation_deg, roll_deg: angles of each pose.
        azimuth: index of its azimuth in the grid.
        elevation: index of its elevation in the grid.
    """

    azimuth_deg: Float[Tensor, "K"]
    elevation_deg: Float[Tensor, "K"]
    roll_deg: Float[Tensor, "K"]
    azimuth: Int[Tensor, "K"]
    elevation: Int[Tensor, "K"]

    @property
    def quaternions(self) -> Float[Tensor, "K 4"]:
        """World-to-camera quaternions."""
        azimuth, elevation, roll = (
            torch.deg2rad(angle) for angle in (self.azimuth_deg, self.elevation_deg, self.roll_deg)
        )
        return pose_quaternions(azimuth, elevation, roll)


def pose_grid(wanted: PoseRange) -> PoseGrid:
    """The grid over a range; float32 degrees."""
    low, high = wanted.elevation_deg
    azimuths = torch.arange(wanted.azimuths) * (360.0 / wanted.azimuths)
    elevations = low + (high - low) * _middles(wanted.elevations)
    rolls = wanted.roll_deg * (2 * _middles(wanted.rolls) - 1)
    elevation, roll, azimuth = torch.meshgrid(
        torch.arange(wanted.elevations), torch.arange(wanted.rolls), torch.arange(wanted.azimuths), indexing="ij"
    )
    return PoseGrid(
        azimuths[azimuth.flatten()],
        elevations[elevation.flatten()],
        rolls[roll.flatten()],
        azimuth.flatten(),
        elevation.flatten(),
    )


def _middles(count: int) -> Tensor:
    return (torch.arange(count) + 0.5) / count


def pose_quaternions(
    azimuth: Float[Tensor, "*B"], elevation: Float[Tensor, "*B"], roll: Float[Tensor, "*B"]
) -> Float[Tensor, "*B 4"]:
    """World-to-camera quaternions (w, x, y, z) of poses, differentiable; angles in radians.

    R = R_z(roll) R_x(elevation) diag(1, -1, -1) R_y(-azimuth). Without roll it is ``cameras.orbit_rotations``; a
    positive roll turns the image clockwise. The mirrored image has the pose (-azimuth, elevation, -roll).
    """
    zero = torch.zeros_like(azimuth)
    # diag(1, -1, -1) is half a turn about x, so it and the elevation are one rotation about x.
    tilt = (elevation + math.pi) / 2
    turned = torch.stack([(azimuth / 2).cos(), zero, -(azimuth / 2).sin(), zero], dim=-1)
    tilted = torch.stack([tilt.cos(), tilt.sin(), zero, zero], dim=-1)
    rolled = torch.stack([(roll / 2).cos(), zero, zero, (roll / 2).sin()], dim=-1)
    return quaternion_multiply(rolled, quaternion_multiply(tilted, turned))


def pose_angles(rotation: Float[Tensor, "*B 3 3"]) -> Float[Tensor, "*B 3"]:
    """Azimuth, elevation and roll of a world-to-camera rotation, radians: the inverse of ``pose_quaternions``.

    Azimuth and roll are in (-pi, pi], the elevation in [-pi/2, pi/2]. Straight above and below, where azimuth and roll
    are one rotation, the azimuth is what is left of rounding, and the roll fits it.
    """
    backward = -rotation[..., 2, :]
    azimuth = torch.atan2(backward[..., 0], backward[..., 2])
    elevation = torch.atan2(backward[..., 1], torch.linalg.vector_norm(backward[..., ::2], dim=-1))
    # The image's right and down axes of the upright camera of that azimuth, of which the first row is turned by roll.
    zero = torch.zeros_like(azimuth)
    right = torch.stack([azimuth.cos(), zero, -azimuth.sin()], dim=-1)
    down = torch.linalg.cross(rotation[..., 2, :], right)
    roll = torch.atan2(-(rotation[..., 0, :] * down).sum(-1), (rotation[..., 0, :] * right).sum(-1))
    return torch.stack([azimuth, elevation, roll], dim=-1)
