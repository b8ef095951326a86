"""Losses of cameras: known cameras and keypoints (CMR), several hypotheses and their probabilities (UMR, UCMR)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from raylift.geometry.camera_conventions import WeakPerspective
from raylift.geometry.camera_hypotheses import CameraHypotheses

LEAST_LOGARITHM = 1e-12
ANCHOR_CAMERA_WEIGHT = 2.0
"""Weight of the cameras' errors relative to the cross-entropy of their bins."""


class CameraErrors(NamedTuple):
    """Errors of weak-perspective cameras.

    Attributes:
        rotation: 1 - |<q, q'>|, in [0, 1]: 1 - cos of half of the angle between them.
        scale: squared difference.
        translation: squared distance, normalised image coordinates.
    """

    rotation: Float[Tensor, "B"]
    scale: Float[Tensor, "B"]
    translation: Float[Tensor, "B"]


def camera_errors(predicted: WeakPerspective, truth: WeakPerspective) -> CameraErrors:
    """The three parts of CMR's camera loss (Kanazawa et al. 2018); q and -q are the same rotation."""
    alike = (normalize(predicted.quaternion, dim=-1) * normalize(truth.quaternion, dim=-1)).sum(dim=-1).abs()
    return CameraErrors(
        1 - alike,
        (predicted.scale - truth.scale).square(),
        (predicted.translation - truth.translation).square().sum(dim=-1),
    )


def pose_anchor_error(predicted: CameraHypotheses, target: CameraHypotheses) -> Float[Tensor, "B"]:
    """Error of D_cam's azimuth bins relative to a posterior: cross-entropy of the bins, and the cameras' errors.

    The errors of rotation, log-scale and shift are expectations under the target's probabilities, times 2: a bin
    without probability gets no gradient. The target is a constant.
    """
    share = target.probabilities.detach()
    undecided = -(share * predicted.logits.log_softmax(dim=-1)).sum(dim=-1)
    alike = (normalize(predicted.quaternion, dim=-1) * target.quaternion.detach()).sum(dim=-1).abs()
    off = (
        (1 - alike)
        + (predicted.scale.log() - target.scale.detach().log()).square()
        + (predicted.translation - target.translation.detach()).square().sum(dim=-1)
    )
    return undecided + ANCHOR_CAMERA_WEIGHT * expected_over_hypotheses(off, share)


def keypoint_error(
    projected: Float[Tensor, "B K 2"], keypoints: Float[Tensor, "B K 2"], visible: Bool[Tensor, "B K"]
) -> Float[Tensor, "B K"]:
    """CMR's keypoint reprojection loss: squared distances; 0 where a keypoint is not annotated.

    Args:
        projected: the shape's keypoints projected by the camera, normalised image coordinates.
    """
    return (projected - keypoints).square().sum(dim=-1).masked_fill(~visible, 0.0)


def keypoint_positions(
    assignment_logits: Float[Tensor, "K V"], vertices: Float[Tensor, "B V 3"]
) -> Float[Tensor, "B K 3"]:
    """Positions of a shape's keypoints: each a mean of vertices with learned weights A (CMR): A V."""
    return torch.einsum("kv,bvc->bkc", assignment_logits.softmax(dim=-1), vertices)


def assignment_entropy(assignment_logits: Float[Tensor, "K V"]) -> Float[Tensor, "K"]:
    """Entropy of each keypoint's assignment to vertices, nats (CMR's vertex-to-keypoint loss)."""
    log = assignment_logits.log_softmax(dim=-1)
    return -(log.exp() * log).sum(dim=-1)


def camera_entropy(probabilities: Float[Tensor, "B H"]) -> Float[Tensor, "B"]:
    """Entropy of an image's camera hypotheses, nats in [0, log H] (UMR's stage 2)."""
    return -(probabilities * probabilities.clamp(min=LEAST_LOGARITHM).log()).sum(dim=-1)


def uneven_use(probabilities: Float[Tensor, "N H"]) -> Float[Tensor, ""]:
    """How unevenly a set of images uses its hypotheses: log H minus the entropy of the mean probabilities, nats.

    UNICORN's prior against collapse to one hypothesis, which a low ``camera_entropy`` favours. It suits hypotheses with
    the same meaning for all images, such as azimuths, that occur about equally often.

    Args:
        probabilities: probabilities of the whole global batch: see ``collectives.gather_rows``.

    Returns:
        In [0, log H]; 0 if all are used equally.
    """
    number = probabilities.shape[1]
    return math.log(number) - camera_entropy(probabilities.mean(dim=0, keepdim=True))[0]


def expected_over_hypotheses(errors: Float[Tensor, "B H"], probabilities: Float[Tensor, "B H"]) -> Float[Tensor, "B"]:
    """The expected error of a hypothesis drawn by its probability: sum over h of p_h L_h (UMR, UCMR)."""
    return (errors * probabilities).sum(dim=-1)


def combined_scores(*errors: Float[Tensor, "B H"]) -> Float[Tensor, "B H"]:
    """Error of each camera relative to its image's other cameras, from equally weighted kinds of error (UCMR).

    Each kind ranges from 0, an image's best camera, to 1, its worst; so does their mean. Constant.
    """
    mean = torch.stack([_between_best_and_worst(error.detach()) for error in errors]).mean(dim=0)
    return _between_best_and_worst(mean)


def _between_best_and_worst(errors: Tensor) -> Tensor:
    low, high = errors.amin(dim=1, keepdim=True), errors.amax(dim=1, keepdim=True)
    return (errors - low) / (high - low).clamp(min=1e-6)


def hypothesis_probabilities(errors: Float[Tensor, "B H"], temperature: float) -> Float[Tensor, "B H"]:
    """Probabilities of a multiplex's cameras from their errors: softmax(-L_h / temperature) (UCMR).

    Treated as constants: a camera must not improve by changing its own probability.

    Args:
        errors: errors on any scale, such as ``combined_scores``, for which UCMR's temperature is 1/20.
    """
    return (-errors.detach() / temperature).softmax(dim=-1)
