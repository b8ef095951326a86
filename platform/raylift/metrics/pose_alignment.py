"""A robustly fitted rotation of a model's world that aligns its cameras to the true ones.

A model that learns from images alone has an arbitrary front, so its cameras are known up to one rotation G of its
world: ``predicted @ G`` is compared with the truth. Errors of such cameras are bimodal (an object's front and back have
almost the same silhouette), and the mean rotation of two modes is neither. So G maximises a truncated score::

    sum_i max(0, 1 - angle_i / 30 degrees)

on which images beyond 30 degrees have no influence. If both worlds are upright, G is a yaw, a rotation about the
vertical axis: one number, which leaves errors of elevation and roll unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.cameras import orbit_rotations
from raylift.metrics.pose import best_global_rotation, rotation_error_deg

INLIER_DEG = 30.0
NUM_YAWS = 72
LEAST_GAIN = 0.1
"""Least advantage of a full rotation over a yaw, in the fraction of images within 30 degrees."""
MAX_CANDIDATES = 400
NUM_REFINED = 5
NUM_ITERATIONS = 20


@dataclass(frozen=True)
class PoseAlignment:
    """The rotation G of a model's world.

    Attributes:
        rotation: matrix G, [3, 3], float64: ``predicted @ rotation`` is compared with the truth, and a point x of the
            true world is ``rotation @ x`` in the model's, up to scale.
        kind: kind of rotation; "yaw" is about the vertical axis only.
        fraction_within: fraction of the fitted images within 30 degrees.
        num_images: number of fitted images; 0 is the identity.
    """

    rotation: Float[Tensor, "3 3"]
    kind: Literal["yaw", "rotation"]
    fraction_within: float
    num_images: int


def fit_pose_alignment(predicted: Float[Tensor, "B 3 3"], truth: Float[Tensor, "B 3 3"]) -> PoseAlignment:
    """Fit the yaw, or if that is not enough the rotation, with the largest truncated score; deterministic.

    Candidates are a grid of yaws and each image's exact rotation; the best few are refined by the mean over their
    inliers until the score stops rising. Without images it is the identity.
    """
    count = len(predicted)
    if count == 0:
        return PoseAlignment(torch.eye(3, dtype=torch.float64), "yaw", 0.0, 0)
    predicted, truth = predicted.double(), truth.double()
    relative = predicted.mT @ truth
    exact = relative[torch.arange(min(count, MAX_CANDIDATES)) * count // min(count, MAX_CANDIDATES)]
    grid = yaw_rotation(torch.arange(NUM_YAWS, dtype=torch.float64) * (360.0 / NUM_YAWS))
    yaws = torch.cat([grid, torch.stack([_mean_yaw(one[None]) for one in exact])])
    yaw, rotation = _best_of(yaws, relative, upright=True), _best_of(exact, relative, upright=False)
    of_yaw, of_rotation = _share_within(yaw, relative), _share_within(rotation, relative)
    if of_rotation >= of_yaw + LEAST_GAIN:
        return PoseAlignment(rotation, "rotation", of_rotation, count)
    return PoseAlignment(yaw, "yaw", of_yaw, count)


def yaw_rotation(angle_deg: Float[Tensor, "*B"]) -> Float[Tensor, "*B 3 3"]:
    """The rotation G about the vertical axis that makes a camera at azimuth a, ``R @ G``, one at azimuth a + angle."""
    flat = angle_deg.reshape(-1)
    zero = torch.zeros_like(flat)
    turned = orbit_rotations(zero, zero).mT @ orbit_rotations(flat, zero)
    return turned.reshape(*angle_deg.shape, 3, 3)


def best_constant_camera(rotations: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 3"]:
    """Find the camera with the largest truncated score as the prediction for all images: the constant camera.

    The first wins ties. At most ``MAX_CANDIDATES`` of them, evenly spread, are tried.
    """
    count = len(rotations)
    number = min(count, MAX_CANDIDATES)
    tried = rotations.double()[torch.arange(number) * count // number]
    scores = torch.stack([_truncated(rotation_error_deg(one.expand_as(rotations), rotations)) for one in tried])
    return tried[int(scores.argmax())]


def _best_of(
    candidates: Float[Tensor, "C 3 3"], relative: Float[Tensor, "B 3 3"], upright: bool
) -> Float[Tensor, "3 3"]:
    scores = torch.stack([_truncated(_angles(one, relative)) for one in candidates])
    order = torch.argsort(scores, descending=True, stable=True)[:NUM_REFINED].tolist()
    refined = [_refined(candidates[index], float(scores[index]), relative, upright) for index in order]
    return max(refined, key=lambda pair: pair[1])[0]


def _refined(
    turn: Float[Tensor, "3 3"], score: float, relative: Float[Tensor, "B 3 3"], upright: bool
) -> tuple[Float[Tensor, "3 3"], float]:
    """Replace the rotation by the mean over its inliers as long as the score improves."""
    for _ in range(NUM_ITERATIONS):
        inliers = relative[_angles(turn, relative) < INLIER_DEG]
        if not len(inliers):
            break
        identity = torch.eye(3, dtype=torch.float64).expand_as(inliers)
        better = _mean_yaw(inliers) if upright else best_global_rotation(identity, inliers)
        reached = float(_truncated(_angles(better, relative)))
        if reached <= score:
            break
        turn, score = better, reached
    return turn, score


def _mean_yaw(relative: Float[Tensor, "B 3 3"]) -> Float[Tensor, "3 3"]:
    """The yaw closest to some rotations: least sum of squared Frobenius norms, in closed form."""
    total = relative.sum(dim=0)
    return yaw_rotation(torch.rad2deg(torch.atan2(total[2, 0] - total[0, 2], total[0, 0] + total[2, 2])))


def _angles(turn: Float[Tensor, "3 3"], relative: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B"]:
    return rotation_error_deg(turn.expand_as(relative), relative)


def _share_within(turn: Float[Tensor, "3 3"], relative: Float[Tensor, "B 3 3"]) -> float:
    return float((_angles(turn, relative) < INLIER_DEG).double().mean())


def _truncated(angles_deg: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    return (1 - angles_deg / INLIER_DEG).clamp(min=0).mean()
