"""D_cam: one camera per image, or several with their probabilities."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import ConfigError
from raylift.geometry.camera_hypotheses import (
    NUM_BOUNDED_NUMBERS,
    NUM_CAMERA_NUMBERS,
    CameraHypotheses,
    bounded_hypotheses,
    hypotheses_from_numbers,
    orbit_quaternions,
)
from raylift.geometry.pose_grid import PoseRange
from raylift.geometry.rotations import quaternion_multiply

INITIAL_STD = 1e-4


class CameraDecoder(nn.Module):
    """Maps the image's feature to weak-perspective cameras (D_cam of equation 2).

    With one hypothesis it starts in front of the object; with H they start 360 / H degrees of azimuth apart (UMR: 8,
    45 degrees), equally probable.

    Args:
        in_features: size of the image's feature.
        num_hypotheses: H.
        initial_scale: image half-widths per world unit: 1.6 shows an object of size 1 with a margin.
        elevation_deg: initial elevation of all hypotheses.

    Raises:
        ConfigError: no hypotheses, or a scale that is not positive.
    """

    base: Tensor

    def __init__(
        self, in_features: int, num_hypotheses: int = 1, initial_scale: float = 1.6, elevation_deg: float = 0.0
    ) -> None:
        super().__init__()
        if num_hypotheses < 1 or not initial_scale > 0:
            raise ConfigError(
                f"{num_hypotheses} camera hypotheses of scale {initial_scale}", "use at least 1, and a scale above 0"
            )
        self.num_hypotheses, self.initial_scale = num_hypotheses, initial_scale
        self.head = nn.Linear(in_features, num_hypotheses * (NUM_CAMERA_NUMBERS + 1))
        nn.init.normal_(self.head.weight, std=INITIAL_STD)
        nn.init.zeros_(self.head.bias)
        azimuths = torch.arange(num_hypotheses) * (360.0 / num_hypotheses)
        base = orbit_quaternions(azimuths, torch.full((num_hypotheses,), elevation_deg))
        self.register_buffer("base", base)

    @torch.no_grad()
    def spread(
        self, weight: Float[Tensor, "8 D"], bias: Float[Tensor, "8"], base: Float[Tensor, "1 4"]
    ) -> dict[str, Tensor]:
        """Compute this decoder's state with hypotheses around the single camera of another decoder.

        Hypothesis k is that camera with the object turned by 360 k / H degrees about its up axis: base_k = base_1 R_y.
        The first, the camera itself, has an initial probability of 1/2.

        Args:
            weight, bias, base: state of a decoder with one hypothesis.
        """
        count = self.num_hypotheses
        level = torch.zeros(count)
        upright = orbit_quaternions(torch.arange(count) * (360.0 / count), level)
        turns = quaternion_multiply(upright[:1] * torch.tensor([1.0, -1.0, -1.0, -1.0]), upright)
        weights, biases = weight.repeat(count, 1), bias.repeat(count)
        logits = slice(NUM_CAMERA_NUMBERS, None, NUM_CAMERA_NUMBERS + 1)
        weights[logits] = INITIAL_STD * weight[-1:]
        biases[logits] = 0
        biases[NUM_CAMERA_NUMBERS] = math.log(max(count - 1, 1))
        bases = quaternion_multiply(base.expand(count, 4), turns.to(base))
        return {"head.weight": weights, "head.bias": biases, "base": bases}

    def forward(self, feature: Float[Tensor, "B D"]) -> CameraHypotheses:
        numbers = self.head(feature).reshape(-1, self.num_hypotheses, NUM_CAMERA_NUMBERS + 1)
        return hypotheses_from_numbers(numbers[..., :-1], self.base, numbers[..., -1], self.initial_scale)


class BoundedCameraDecoder(nn.Module):
    """Maps the image's feature to one camera in each of H azimuth bins, within ranges of elevation and roll.

    At first all bins are equally probable, with their cameras at the bin's centre and the middle elevation.

    Args:
        in_features: size of the image's feature.
        num_bins: H.
        initial_scale: image half-widths per world unit.
        ranges: ranges of elevation and roll.

    Raises:
        ConfigError: fewer than two bins, or a scale that is not positive.
    """

    def __init__(self, in_features: int, num_bins: int, initial_scale: float, ranges: PoseRange) -> None:
        super().__init__()
        if num_bins < 2 or not initial_scale > 0:
            raise ConfigError(
                f"{num_bins} azimuth bins, cameras of scale {initial_scale}", "use at least 2 bins, a scale above 0"
            )
        self.num_hypotheses, self.initial_scale, self.ranges = num_bins, initial_scale, ranges
        self.head = nn.Linear(in_features, num_bins * (NUM_BOUNDED_NUMBERS + 1))
        nn.init.normal_(self.head.weight, std=INITIAL_STD)
        nn.init.zeros_(self.head.bias)

    def forward(self, feature: Float[Tensor, "B D"]) -> CameraHypotheses:
        numbers = self.head(feature).reshape(-1, self.num_hypotheses, NUM_BOUNDED_NUMBERS + 1)
        return bounded_hypotheses(numbers[..., :-1], numbers[..., -1], self.initial_scale, self.ranges)
