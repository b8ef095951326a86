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
from raylift.geometry.rotations import matrix_to_quaternion, quaternion_multiply

NUM_CAMERA_NUMBERS = 7
"""Scale, two of translation, four of the quaternion."""
SCALE_RANGE = 4.0
"""A camera's scale stays within a factor of 4 of where it starts."""


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
