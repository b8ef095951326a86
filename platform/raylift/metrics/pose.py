"""Rotation errors of predicted cameras (protocols ``pose`` and ``pose_ucmr``)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.rotations import rotation_angle


def rotation_error_deg(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """The geodesic angle of R^T R', degrees in [0, 180]; float64."""
    return torch.rad2deg(rotation_angle(predicted.double(), truth.double()))


def twin_forgiven_error_deg(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """The smaller error of the prediction and of its twin, half a turn away about the vertical axis.

    Front and back of many objects have almost the same silhouette: the difference to ``rotation_error_deg`` is the part
    of the error due to that confusion. A diagnosis, not a score.
    """
    twin = torch.diag(torch.tensor([-1.0, 1.0, -1.0], dtype=torch.float64))
    turned = rotation_error_deg(predicted.double() @ twin, truth)
    return torch.minimum(rotation_error_deg(predicted, truth), turned)


def azimuths_deg(rotations: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    """Azimuths of cameras around the vertical axis, degrees in [-180, 180]; 0 is +Z, 90 is +X; float64."""
    backward = -rotations[:, 2].double()
    return torch.rad2deg(torch.atan2(backward[:, 0], backward[:, 2]))


def circular_std_deg(angles_deg: Float[Tensor, "B"]) -> float:
    """The circular standard deviation ``sqrt(-2 ln R)`` in degrees (Mardia and Jupp 2000), R the mean unit vector's
    length.

    0 for equal angles; for angles of a full turn it grows with their number (R below 1e-3 counts as 1e-3: 213
    degrees). NaN without angles.
    """
    if not len(angles_deg):
        return math.nan
    radians = torch.deg2rad(angles_deg.double())
    length = torch.hypot(radians.cos().mean(), radians.sin().mean()).clamp(1e-3, 1.0)
    return math.degrees(math.sqrt(max(0.0, -2 * math.log(float(length)))))


def best_global_rotation(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 3"]:
    """The single rotation G for which ``predicted @ G`` is closest to ``truth`` over all images; float64.

    A model that learns from images alone has an arbitrary front, so its cameras are known up to one rotation of its
    world. The chordal mean of R_i^T R'_i: the least sum of squared Frobenius norms, in closed form by the singular
    value decomposition of their sum (Hartley et al. 2013, section 5.3; with quaternions, Markley et al. 2007). Without
    images it is the identity.
    """
    total = (predicted.double().mT @ truth.double()).sum(dim=0)
    if not bool(total.any()):
        return torch.eye(3, dtype=torch.float64)
    left, _, right = torch.linalg.svd(total)
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.linalg.det(left @ right))
    return (left * sign) @ right
