"""How far predicted cameras are turned away from the true ones (protocols ``pose`` and ``pose_ucmr``)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.rotations import rotation_angle
from raylift.metrics.scores import mean_of, median_of


def rotation_error_deg(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """The geodesic angle of R^T R', degrees in [0, 180]; float64."""
    return torch.rad2deg(rotation_angle(predicted.double(), truth.double()))


@dataclass(frozen=True)
class PoseErrors:
    """An additive state: the angles of all images, degrees."""

    angles_deg: tuple[float, ...] = ()

    def __add__(self, other: PoseErrors) -> PoseErrors:
        return PoseErrors(self.angles_deg + other.angles_deg)

    @property
    def mean_deg(self) -> float:
        return mean_of(self.angles_deg)

    @property
    def median_deg(self) -> float:
        return median_of(self.angles_deg)

    def accuracy(self, within_deg: float) -> float:
        """The share of images within an angle (NeMo: 30 and 10 degrees, pi / 6 and pi / 18); NaN of none."""
        return mean_of([float(angle < within_deg) for angle in self.angles_deg])


def best_global_rotation(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 3"]:
    """The one rotation G for which ``predicted @ G`` is closest to ``truth`` over all images; float64.

    What a model that learns from images alone calls the front is its own choice, so its cameras are known up to one
    rotation of its world. The chordal mean of R_i^T R'_i: the least sum of squared Frobenius norms, in closed form by
    the singular value decomposition of their sum (Markley et al. 2007 by quaternions, Hartley et al. 2013, section 5.3,
    so). Of no image it is the identity.
    """
    total = (predicted.double().mT @ truth.double()).sum(dim=0)
    if not bool(total.any()):
        return torch.eye(3, dtype=torch.float64)
    left, _, right = torch.linalg.svd(total)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(left @ right))
    return (left * sign) @ right
