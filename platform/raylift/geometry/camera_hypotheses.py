"""Several weak-perspective cameras per image, each with its probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from raylift.core.device_copies import constant
from raylift.core.types import Camera
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.pose_grid import PoseRange, pose_quaternions
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_multiply, quaternion_to_matrix

NUM_CAMERA_NUMBERS = 7
"""Number of free parameters: scale, two of translation, four of the quaternion."""
NUM_BOUNDED_NUMBERS = 6
"""Number of free parameters: scale, two of translation, azimuth, elevation, roll."""
SCALE_RANGE = 4.0
"""Limit of a camera's scale: a factor of 4 from its initial value."""
NO_PROBABILITY = -50.0
"""Logit of a bin without probability; exp(-50) is lost beside 1."""
BIN_REACH = 0.52
"""Limit of an azimuth's distance from its bin's centre, in bins: bins overlap, so every azimuth is reachable."""


@dataclass(frozen=True)
class CameraHypotheses:
    """H weak-perspective cameras for each of B images: uv = scale * (R x)_xy + translation.

    Attributes:
        scale: image half-widths per world unit.
        translation: shift in normalised image coordinates.
        quaternion: unit quaternion (w, x, y, z).
        logits: unnormalised log-probabilities of an image's hypotheses.
    """

    scale: Float[Tensor, "B H"]
    translation: Float[Tensor, "B H 2"]
    quaternion: Float[Tensor, "B H 4"]
    logits: Float[Tensor, "B H"]

    @property
    def probabilities(self) -> Float[Tensor, "B H"]:
        return self.logits.softmax(dim=-1)

    def weak_perspective(self) -> WeakPerspective:
        """All B * H cameras, an image's hypotheses consecutive."""
        return WeakPerspective(self.scale.flatten(), self.translation.flatten(0, 1), self.quaternion.flatten(0, 1))

    def cameras(self) -> Camera:
        """All B * H cameras in this project's convention, an image's hypotheses consecutive."""
        return from_weak_perspective(self.weak_perspective())

    def pick(self, index: Int[Tensor, "B"]) -> WeakPerspective:
        """Pick one hypothesis per image."""
        rows = torch.arange(len(index), device=index.device)
        return WeakPerspective(self.scale[rows, index], self.translation[rows, index], self.quaternion[rows, index])

    def take(self, index: Int[Tensor, "B P"]) -> CameraHypotheses:
        """Pick P hypotheses per image."""
        rows = torch.arange(len(index), device=index.device)[:, None]
        parts = (self.scale, self.translation, self.quaternion, self.logits)
        return CameraHypotheses(*(part[rows, index] for part in parts))

    def top(self, count: int) -> CameraHypotheses:
        """Each image's ``count`` most probable hypotheses, most probable first."""
        index = self.logits.detach().argsort(dim=-1, descending=True, stable=True)[:, :count]
        return CameraHypotheses(
            self.scale.gather(1, index),
            self.translation.gather(1, index[..., None].expand(-1, -1, 2)),
            self.quaternion.gather(1, index[..., None].expand(-1, -1, 4)),
            self.logits.gather(1, index),
        )

    def best(self) -> WeakPerspective:
        """Each image's most probable hypothesis, the first among ties."""
        return self.pick(self.logits.argmax(dim=-1))


def orbit_quaternions(azimuths_deg: Float[Tensor, "H"], elevations_deg: Float[Tensor, "H"]) -> Float[Tensor, "H 4"]:
    """World-to-camera quaternions of upright cameras around the object; float32. See ``cameras.orbit``."""
    return matrix_to_quaternion(orbit_rotations(azimuths_deg, elevations_deg)).float()


def known_hypotheses(cameras: WeakPerspective, count: int) -> CameraHypotheses:
    """Known cameras as ``count`` azimuth bins: all probability is in each camera's own bin.

    Other bins have upright cameras at their centres, which no expectation counts.
    """
    scale, batch = cameras.scale, len(cameras.scale)
    azimuth = azimuths_of(quaternion_to_matrix(cameras.quaternion))
    own = torch.round(azimuth * count / (2 * math.pi)).long() % count
    degrees = torch.arange(count, dtype=torch.float64) * (360 / count)
    quaternion = orbit_quaternions(degrees, torch.zeros_like(degrees)).to(scale).expand(batch, -1, -1).clone()
    rows = torch.arange(batch, device=scale.device)
    quaternion[rows, own] = cameras.quaternion
    logits = scale.new_full((batch, count), NO_PROBABILITY)
    logits[rows, own] = 0.0
    return CameraHypotheses(
        scale[:, None].expand(-1, count), cameras.translation[:, None].expand(-1, count, -1), quaternion, logits
    )


def azimuths_of(rotations: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """Azimuths of cameras around the vertical axis, radians in [-pi, pi]; 0 is +Z, pi / 2 is +X."""
    return torch.atan2(-rotations[:, 2, 0], -rotations[:, 2, 2])


def hypotheses_from_numbers(
    numbers: Float[Tensor, "B H 7"],
    base: Float[Tensor, "*H 4"],
    logits: Float[Tensor, "B H"],
    initial_scale: float,
) -> CameraHypotheses:
    """Compute cameras from free parameters; zeros are the base rotations at the initial scale in the image's centre.

    scale = initial * 4^tanh(n_0), translation = tanh(n_1, n_2), quaternion = unit((1, 0, 0, 0) + n_3..6) * base:
    bounded, so that no step moves the object out of the image permanently.
    """
    residual = numbers[..., 3:] + constant([1.0, 0.0, 0.0, 0.0], numbers)
    return CameraHypotheses(
        scale=initial_scale * (math.log(SCALE_RANGE) * numbers[..., 0].tanh()).exp(),
        translation=numbers[..., 1:3].tanh(),
        quaternion=quaternion_multiply(normalize(residual, dim=-1), base.to(numbers).expand_as(residual)),
        logits=logits,
    )


def bounded_hypotheses(
    numbers: Float[Tensor, "B H 6"], logits: Float[Tensor, "B H"], initial_scale: float, ranges: PoseRange
) -> CameraHypotheses:
    """Compute cameras from free parameters, one per azimuth bin (H) and all within the ranges of elevation and roll.

    Hypothesis h has azimuth 360 h / H + 0.52 (360 / H) tanh(n_3), elevation low + (high - low) sigmoid(n_4) and roll
    roll_deg tanh(n_5); scale and translation as in ``hypotheses_from_numbers``. Bounds separate the hypotheses and
    exclude the mirror range of elevations (see ``PoseRange``).
    """
    count = numbers.shape[1]
    bin_width = 2 * math.pi / count
    middle = torch.arange(count, device=numbers.device, dtype=numbers.dtype) * bin_width
    low, high = (math.radians(angle) for angle in ranges.elevation_deg)
    return CameraHypotheses(
        scale=initial_scale * (math.log(SCALE_RANGE) * numbers[..., 0].tanh()).exp(),
        translation=numbers[..., 1:3].tanh(),
        quaternion=pose_quaternions(
            middle + BIN_REACH * bin_width * numbers[..., 3].tanh(),
            low + (high - low) * numbers[..., 4].sigmoid(),
            math.radians(ranges.roll_deg) * numbers[..., 5].tanh(),
        ),
        logits=logits,
    )
