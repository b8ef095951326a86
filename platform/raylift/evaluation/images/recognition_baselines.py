"""What any recognition of objects must beat (law 7).

* ``constant``: the majority class with the training frequencies as probabilities, the constant pose with the highest
  accuracy, and the mean outlines at the threshold with the best overlap: all of the training images. If the class is
  told, pose and outline of that class.
* ``random_pose``: the expected scores of a random training pose, computed without drawing.
* ``nearest_silhouette``: class, pose and amodal outline of the training image with the most similar visible silhouette.
  It is given the true visible silhouette, which a recogniser has to find.
* ``visible_mask``: the true visible silhouette as the whole object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from raylift.core.errors import DataError
from raylift.core.types import Batch, SampleRequest
from raylift.evaluation.images.recognition_answers import Answer, Outline, Truth, score_answer, truths_of
from raylift.evaluation.scorer import Values
from raylift.metrics.recognition import THRESHOLD
from raylift.metrics.rotation_symmetry import PI_6_DEG, PI_18_DEG, Symmetry, best_constant_pose, pose_error_deg

CONSTANT, RANDOM_POSE = "constant", "random_pose"
NEAREST_SILHOUETTE, VISIBLE_MASK = "nearest_silhouette", "visible_mask"
SILHOUETTE_PX = 64
"""Side of the training silhouettes, pixels."""
MAX_POSES = 1000
_THRESHOLDS = np.linspace(0.1, 0.9, 17)

Pair = tuple[Values, Values]
"""Scores without help, and with the class told."""


def baseline_request(wanted: SampleRequest, amodal: bool) -> SampleRequest:
    """The request of training images, cropped as for a model that requests ``wanted`` samples."""
    return SampleRequest(SILHOUETTE_PX, crop=wanted.crop, amodal=amodal, truth=True)


@dataclass(frozen=True)
class TrainingImages:
    """What is known of training images.

    Attributes:
        categories: index of each image's category; the number of categories means none of them.
        rotations: of their cameras, float64; None if unknown.
        visible: coverage of what is seen, 0 to 255.
        amodal: coverage of the whole object; None if unknown.
    """

    num_categories: int
    categories: Int[np.ndarray, "N"]
    rotations: Float[Tensor, "N 3 3"] | None
    visible: np.ndarray
    amodal: np.ndarray | None

    @staticmethod
    def read(batches: Iterable[Batch], category_of: Callable[[str], int], num_categories: int) -> TrainingImages:
        """From batches of ``baseline_request``.

        Args:
            category_of: returns the index of a sample's category; -1: none of them.

        Raises:
            DataError: no training images.
        """
        truths = [
            truth
            for batch in batches
            for truth in truths_of(batch, [category_of(name) for name in batch.ids], num_categories)
        ]
        if not truths:
            raise DataError("baselines need training images, but there are none", "set evaluation.baselines=false")
        # Without a category there is no canonical frame, so such images have no pose.
        rotations = [torch.full((3, 3), torch.nan).double() if one.rotation is None else one.rotation for one in truths]
        amodal = [one.amodal for one in truths if one.amodal is not None]
        has_pose = any(one.rotation is not None for one in truths)
        return TrainingImages(
            num_categories,
            np.array([one.category for one in truths]),
            torch.stack(rotations) if has_pose else None,
            _stacked([one.visible for one in truths]),
            _stacked(amodal) if len(amodal) == len(truths) else None,
        )

    def of(self, category: int | None) -> Int[np.ndarray, "M"]:
        """Indices of the images of a category, or of all; of all, too, if it has none."""
        picked = np.arange(len(self)) if category is None else np.flatnonzero(self.categories == category)
        return picked if len(picked) else np.arange(len(self))

    def poses(self, category: int | None) -> Float[Tensor, "M 3 3"] | None:
        """The known rotations of a category, at most ``MAX_POSES``, evenly spread."""
        if self.rotations is None:
            return None
        found = self.rotations[torch.from_numpy(self.of(category))]
        found = found[found.isfinite().all(dim=(1, 2)) if len(found) else slice(None)]
        number = min(len(found), MAX_POSES)
        return found[torch.arange(number) * len(found) // number] if number else None

    def __len__(self) -> int:
        return len(self.categories)


class RecognitionBaselines:
    """The baselines of one evaluation.

    Args:
        symmetries: by category; none by default.
    """

    def __init__(self, training: TrainingImages, symmetries: Mapping[int, Symmetry] | None = None) -> None:
        self._training = training
        self._symmetries = symmetries or {}
        self._frequencies = np.bincount(training.categories, minlength=training.num_categories + 1) / len(training)
        self._constant = cache(self._make_constant)
        self._poses = cache(training.poses)
        flat = training.visible.reshape(len(training), -1).astype(np.float32) / 255
        self._silhouettes, self._areas = flat, flat.sum(axis=1)

    def scores(self, truth: Truth) -> dict[str, Pair]:
        """The scores of every baseline for one image."""
        told = truth.category if truth.category < self._training.num_categories else None
        found = {CONSTANT: tuple(score_answer(self.constant(one, truth), truth) for one in (None, told))}
        if truth.rotation is not None and self._poses(None) is not None:
            found[RANDOM_POSE] = tuple(self._random(one, truth) for one in (None, told))
        nearest = (self.nearest(one, truth) for one in (None, told))
        found[NEAREST_SILHOUETTE] = tuple(_given_silhouette(answer, truth) for answer in nearest)
        whole = _given_silhouette(Answer(amodal=truth.visible, visible=truth.visible), truth)
        if truth.amodal is not None:
            found[VISIBLE_MASK] = whole, whole
        return {name: (scores[0], scores[1] if told is not None else {}) for name, scores in found.items()}

    def constant(self, told: int | None, truth: Truth) -> Answer:
        """The best constant answer; with the outlines resized to the truth's."""
        rotation, amodal, visible = self._constant(told)
        side = truth.visible.shape[0]
        with np.errstate(divide="ignore"):
            log_probs = np.log(self._frequencies)
        outlines = (None if outline is None else _resized(outline, side) for outline in (amodal, visible))
        return Answer(log_probs, told, rotation, *outlines)

    def nearest(self, told: int | None, truth: Truth) -> Answer:
        """The training image with the largest soft IoU of visible silhouettes; the first wins ties."""
        small = _resized(truth.visible, SILHOUETTE_PX).ravel().astype(np.float32)
        picked = self._training.of(told)
        both = self._silhouettes[picked] @ small
        either = self._areas[picked] + small.sum() - both
        index = int(picked[(both / np.maximum(either, 1e-9)).argmax()])
        amodal, rotations = self._training.amodal, self._training.rotations
        rotation = None if rotations is None or not rotations[index].isfinite().all() else rotations[index]
        side = truth.visible.shape[0]
        outline = None if amodal is None else _resized(amodal[index].astype(np.float32) / 255, side)
        return Answer(None, int(self._training.categories[index]), rotation, outline, truth.visible)

    def _random(self, told: int | None, truth: Truth) -> Values:
        poses = self._poses(told)
        assert poses is not None, "some training poses are known"
        assert truth.rotation is not None, "only images with a known pose are scored"
        theirs = truth.rotation.expand_as(poses)
        scores: Values = {}
        exact, symmetric = pose_error_deg(poses, theirs), pose_error_deg(poses, theirs, truth.symmetry)
        scores |= {"rotation_deg": float(exact.mean()), "symmetric_deg": float(symmetric.mean())}
        for kind, errors in (("pose", exact), ("symmetric", symmetric)):
            scores[f"{kind}_pi6"] = float((errors < PI_6_DEG).double().mean())
            scores[f"{kind}_pi18"] = float((errors < PI_18_DEG).double().mean())
        return scores

    def _make_constant(self, told: int | None) -> tuple[Float[Tensor, "3 3"] | None, Outline | None, Outline]:
        poses, picked = self._poses(told), self._training.of(told)
        rotation = None if poses is None else best_constant_pose(poses)
        amodal = self._training.amodal
        return (
            rotation,
            None if amodal is None else best_mean(amodal[picked]),
            best_mean(self._training.visible[picked]),
        )


def best_mean(coverages: np.ndarray) -> Outline:
    """The mean of outlines, shifted so that its threshold of a half has the best mean IoU with them.

    Args:
        coverages: uint8 [N, S, S], 0 to 255.
    """
    mean = coverages.mean(axis=0) / 255
    outlines = coverages >= THRESHOLD * 255
    best = max(_THRESHOLDS, key=lambda threshold: (_mean_iou(mean >= threshold, outlines), -abs(threshold - THRESHOLD)))
    return np.asarray(mean - best + THRESHOLD, np.float32)


def _mean_iou(outline: Bool[np.ndarray, "S S"], outlines: Bool[np.ndarray, "N S S"]) -> float:
    both = (outlines & outline).sum(axis=(1, 2))
    either = (outlines | outline).sum(axis=(1, 2))
    return float(np.where(either > 0, both / np.maximum(either, 1), 1.0).mean())


def _given_silhouette(answer: Answer, truth: Truth) -> Values:
    """Scores of a baseline that is given the visible silhouette, which are not scores of having found it."""
    scores = score_answer(answer, truth)
    scores.pop("visible_iou", None)
    return scores


def _stacked(outlines: Sequence[Outline]) -> np.ndarray:
    return np.stack([(255 * outline.clip(0, 1) + 0.5).astype(np.uint8) for outline in outlines])


def _resized(outline: Outline, side: int) -> Outline:
    if outline.shape[0] == side:
        return outline
    resized = interpolate(
        torch.from_numpy(np.ascontiguousarray(outline, np.float32))[None, None],
        (side, side),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    return np.asarray(resized[0, 0].numpy())
