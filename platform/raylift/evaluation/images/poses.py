"""Scores predicted cameras of image collections against the true ones, with constant and random baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.evaluation.images.alignment import LEAST_IN_CATEGORY, Rotation, WorldAlignment
from raylift.evaluation.report import AZIMUTH
from raylift.evaluation.scorer import Values
from raylift.metrics.pose import azimuths_deg, rotation_error_deg, twin_forgiven_error_deg
from raylift.metrics.pose_alignment import PoseAlignment, best_constant_camera

CONSTANT_CAMERA, RANDOM_CAMERA = "constant_camera", "random_camera"
ACCURACIES_DEG = (30, 15, 10)
KnownRotations = Mapping[str, Mapping[str, Rotation]]
"""True rotations of training images, by category and image."""


@dataclass
class Cameras:
    """Predicted rotations by method and sample, and the true ones, float64; those of ranks can be added."""

    predicted: dict[str, dict[str, Rotation]] = field(default_factory=dict)
    truth: dict[str, Rotation] = field(default_factory=dict)

    def keep(self, method: str, sample: str, predicted: Rotation, truth: Rotation) -> None:
        self.predicted.setdefault(method, {})[sample] = predicted.detach().cpu().double()
        self.truth[sample] = truth.detach().cpu().double()

    def __add__(self, other: Cameras) -> Cameras:
        methods = dict.fromkeys([*self.predicted, *other.predicted])
        predicted = {name: {**self.predicted.get(name, {}), **other.predicted.get(name, {})} for name in methods}
        return Cameras(predicted, {**self.truth, **other.truth})


def in_place(category: str) -> WorldAlignment:
    """The identity alignment, for cameras already in the true world."""
    del category
    still = PoseAlignment(torch.eye(3, dtype=torch.float64), "yaw", 0.0, 0)
    return WorldAlignment(still, 1.0, torch.zeros(3, dtype=torch.float64))


def pose_scores(
    predicted: Mapping[str, Rotation],
    truth: Mapping[str, Rotation],
    categories: Mapping[str, str],
    alignment: Callable[[str], WorldAlignment | None],
) -> dict[str, Values]:
    """Pose scores of one method, by sample.

    ``rotation_deg`` is the angle without alignment, ``aligned_deg`` after the frozen alignment of the category;
    ``accuracy_30``, ``_15`` and ``_10`` refer to aligned angles. ``twin_forgiven_30`` also accepts the camera half a
    turn away, and is a diagnostic. Without an alignment only the first is reported.

    Args:
        alignment: returns a category's alignment; None if it is unknown.
    """
    scores: dict[str, Values] = {}
    for name in sorted(predicted):
        ours, theirs = predicted[name][None], truth[name][None]
        scores[name] = {"pose/rotation_deg": float(rotation_error_deg(ours, theirs))}
        turn = alignment(categories[name])
        if turn is not None:
            aligned = ours @ turn.pose.rotation
            angle = rotation_error_deg(aligned, theirs)
            scores[name] |= {"pose/aligned_deg": float(angle), **_accuracies(angle)}
            scores[name]["pose/twin_forgiven_30"] = float(twin_forgiven_error_deg(aligned, theirs) < 30)
        scores[name][f"pose/{AZIMUTH}"] = float(azimuths_deg(ours))
    return scores


def constant_camera_scores(
    known: KnownRotations, truth: Mapping[str, Rotation], categories: Mapping[str, str]
) -> dict[str, Values]:
    """Scores of the training camera that is close to most training cameras of its category, for every image."""
    best = {category: best_constant_camera(rotations) for category, rotations in _stacked(known).items()}
    answers = {name: best.get(categories[name], best[""]) for name in truth}
    return pose_scores(answers, truth, categories, in_place)


def random_camera_scores(
    known: KnownRotations, truth: Mapping[str, Rotation], categories: Mapping[str, str]
) -> dict[str, Values]:
    """Expected scores of a random training camera of the category, computed without drawing."""
    stacked = _stacked(known)
    scores: dict[str, Values] = {}
    for name in sorted(truth):
        rotations = stacked.get(categories[name], stacked[""])
        theirs = truth[name].expand_as(rotations)
        angles = rotation_error_deg(rotations, theirs)
        mean = float(angles.mean())
        twins = float((twin_forgiven_error_deg(rotations, theirs) < 30).double().mean())
        scores[name] = {"pose/rotation_deg": mean, "pose/aligned_deg": mean, **_accuracies(angles)}
        scores[name]["pose/twin_forgiven_30"] = twins
    return scores


def _accuracies(angles: Float[Tensor, "B"]) -> Values:
    return {f"pose/accuracy_{limit}": float((angles < limit).double().mean()) for limit in ACCURACIES_DEG}


def _stacked(known: KnownRotations) -> dict[str, Float[Tensor, "B 3 3"]]:
    """Rotations by category, if it has enough of them, and all together under ""."""
    everything = [one for rotations in known.values() for one in rotations.values()]
    large = {
        name: torch.stack(list(found.values())) for name, found in known.items() if len(found) >= LEAST_IN_CATEGORY
    }
    return {**large, "": torch.stack(everything)}
