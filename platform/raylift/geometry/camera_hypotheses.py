"""Several weak-perspective cameras an image, each with how probable it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from raylift.core.types import Camera
from raylift.geometry.camera_conventions import WeakPerspective, from_weak_perspective
from raylift.geometry.cameras import orbit_rotations
from raylift.geometry.pose_grid import PoseRange, pose_quaternions
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_multiply

NUM_CAMERA_NUMBERS = 7
"""Scale, two of translation, four of the quaternion."""
NUM_BOUNDED_NUMBERS = 6
"""Scale, two of translation, azimuth, elevation, roll."""
SCALE_RANGE = 4.0
"""A camera's scale stays within a factor of 4 of where it starts."""
BIN_REACH = 0.52
"""How far an azimuth may leave the middle of its bin, in bins: neighbours overlap, so that every azimuth is reached."""


@dataclass(frozen=True)
class CameraHypotheses:
    """H weak-perspective cameras for each of B images: uv = scale * (R x)_xy + translation.

    Attributes:
        scale: image half-widths a world unit.
        translation: normalised image coordinates.
        quaternion: (w, x, y, z), unit length.
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
        """All B * H cameras, an image's hypotheses next to each other."""
        return WeakPerspective(self.scale.flatten(), self.translation.flatten(0, 1), self.quaternion.flatten(0, 1))

    def cameras(self) -> Camera:
        """All B * H cameras in the house's convention, an image's hypotheses next to each other."""
        return from_weak_perspective(self.weak_perspective())

    def pick(self, index: Int[Tensor, "B"]) -> WeakPerspective:
        """One hypothesis an image."""
        rows = torch.arange(len(index), device=index.device)
        return WeakPerspective(self.scale[rows, index], self.translation[rows, index], self.quaternion[rows, index])

    def take(self, index: Int[Tensor, "B P"]) -> CameraHypotheses:
        """P hypotheses of each image."""
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
        """Each image's most probable hypothesis, the first of equals."""
        return self.pick(self.logits.argmax(dim=-1))


def orbit_quaternions(azimuths_deg: Float[Tensor, "H"], elevations_deg: Float[Tensor, "H"]) -> Float[Tensor, "H 4"]:
    """World-to-camera quaternions of upright cameras around the object; float32. See ``cameras.orbit``."""
    return matrix_to_quaternion(orbit_rotations(azimuths_deg, elevations_deg)).float()


def hypotheses_from_numbers(
    numbers: Float[Tensor, "B H 7"],
    base: Float[Tensor, "*H 4"],
    logits: Float[Tensor, "B H"],
    initial_scale: float,
) -> CameraHypotheses:
    """Cameras out of free numbers; zeros give the base rotations at the initial scale in the image's centre.

    scale = initial * 4^tanh(n_0), translation = tanh(n_1, n_2), quaternion = unit((1, 0, 0, 0) + n_3..6) * base:
    bounded, so that no step throws the object out of the picture for good.
    """
    residual = numbers[..., 3:] + numbers.new_tensor([1.0, 0.0, 0.0, 0.0])
    return CameraHypotheses(
        scale=initial_scale * (math.log(SCALE_RANGE) * numbers[..., 0].tanh()).exp(),
        translation=numbers[..., 1:3].tanh(),
        quaternion=quaternion_multiply(normalize(residual, dim=-1), base.to(numbers).expand_as(residual)),
        logits=logits,
    )


def bounded_hypotheses(
    numbers: Float[Tensor, "B H 6"], logits: Float[Tensor, "B H"], initial_scale: float, ranges: PoseRange
) -> CameraHypotheses:
    """Cameras out of free numbers, one in each of H azimuth bins and all within the ranges of elevation and roll.

    Hypothesis h has azimuth 360 h / H + 0.52 (360 / H) tanh(n_3), elevation low + (high - low) sigmoid(n_4) and roll
    roll_deg tanh(n_5); scale and translation as in ``hypotheses_from_numbers``. Bounds keep hypotheses apart and out of
    the twin of an elevation range (see ``PoseRange``).
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
