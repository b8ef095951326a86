"""An answer to one image, from a model or a baseline, and its scores against the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from raylift.core.model import Recognition
from raylift.core.types import Batch
from raylift.data.scenes.levels import hidden_share, level_of
from raylift.evaluation.images.recognition_metrics import BETWEEN
from raylift.evaluation.scorer import Values
from raylift.metrics.recognition import (
    LEAST_LOG_PROB,
    boundary_f,
    hidden_iou,
    negative_log_likelihood,
    occluder_auc,
    outline_iou,
)
from raylift.metrics.rotation_symmetry import PI_6_DEG, PI_18_DEG, Symmetry, pose_error_deg

LEAST_HIDDEN = 0.05
"""Hidden share below which an object counts as not hidden: the level L0."""
Outline = Float[np.ndarray, "H W"]
"""Coverage, or its probability, in [0, 1]."""


@dataclass(frozen=True)
class Truth:
    """What is true of one image.

    Attributes:
        category: index of the category; the number of categories means none of them.
        rotation: of the camera, float64; None if unknown.
        visible: what is seen of the object.
        amodal: the whole object; None if unknown.
        symmetry: of the category.
    """

    category: int
    rotation: Float[Tensor, "3 3"] | None
    visible: Outline
    amodal: Outline | None
    symmetry: Symmetry = "none"

    @property
    def hidden(self) -> float:
        """The hidden share, from areas of coverage; NaN if unknown, or if the object is out of the picture."""
        if self.amodal is None or not self.amodal.any():
            return math.nan
        return hidden_share(self.amodal, np.minimum(self.visible, self.amodal))

    @property
    def level(self) -> str:
        """``L0`` if less than 5 % are hidden, a level of ``data.scenes.levels``, or ``between``; "" if unknown."""
        if math.isnan(self.hidden):
            return ""
        return "L0" if self.hidden < LEAST_HIDDEN else level_of(self.hidden) or BETWEEN


@dataclass(frozen=True)
class Answer:
    """What is said of one image; None where nothing is said.

    Attributes:
        log_probs: of each category, then of "none of them".
        category: chosen category; by default the most likely one.
        rotation: of the camera.
    """

    log_probs: Float[np.ndarray, "C"] | None = None
    category: int | None = None
    rotation: Float[Tensor, "3 3"] | None = None
    amodal: Outline | None = None
    visible: Outline | None = None
    occluder: Outline | None = None

    @property
    def chosen(self) -> int | None:
        return int(self.log_probs.argmax()) if self.category is None and self.log_probs is not None else self.category


def evidence_of(batch: Batch) -> Batch:
    """What a model may see of held-out samples: the images, and how the photographs were taken, but not from where.

    Cameras keep their focal length and principal point; their pose is the neutral one, three units in front of the
    object.
    """
    camera = batch.camera
    if camera is not None:
        camera = replace(
            camera,
            rotation=torch.eye(3).to(camera.rotation).expand_as(camera.rotation).contiguous(),
            translation=torch.tensor([0.0, 0.0, 3.0]).to(camera.translation).repeat(len(camera), 1),
        )
    return Batch(batch.ids, batch.keys, {"image": batch["image"]}, camera)


def truths_of(
    batch: Batch, categories: Sequence[int], num_categories: int, symmetries: Mapping[int, Symmetry] | None = None
) -> list[Truth]:
    """The truth of each sample of a batch, with its camera and amodal mask where known.

    Args:
        categories: index of each sample's category; -1: none of them.
        symmetries: by category; none by default.
    """
    rotations = None if batch.camera is None else batch.camera.rotation.detach().cpu().double()
    amodal = batch["amodal"].float().cpu().numpy()[:, 0] if "amodal" in batch else None
    visible = batch["mask"].float().cpu().numpy()[:, 0]
    found = []
    for row, category in enumerate(categories):
        is_known = category >= 0
        found.append(
            Truth(
                category if is_known else num_categories,
                # An unknown category has no canonical frame, so no rotation in it.
                rotations[row] if rotations is not None and is_known else None,
                visible[row],
                None if amodal is None else amodal[row],
                (symmetries or {}).get(category, "none"),
            )
        )
    return found


def answers_of(found: Recognition, image_px: int) -> list[Answer]:
    """A model's answers, with maps of the truth's size."""
    log_probs = np.nan_to_num(found.log_probs.detach().cpu().double().numpy(), nan=LEAST_LOG_PROB)
    rotations = found.camera.rotation.detach().cpu().double()
    amodal, visible, occluder = (_maps(part, image_px) for part in (found.amodal, found.visible, found.occluder))
    return [
        Answer(log_probs[row], None, rotations[row], amodal[row], visible[row], occluder[row])
        for row in range(len(log_probs))
    ]


def score_answer(answer: Answer, truth: Truth) -> Values:
    """Every score that answer and truth allow, by metric; see ``recognition_metrics``."""
    return _class_scores(answer, truth) | _pose_scores(answer, truth) | _outline_scores(answer, truth)


def _class_scores(answer: Answer, truth: Truth) -> Values:
    if answer.chosen is None:
        return {}
    scores = {"class_accuracy": float(answer.chosen == truth.category)}
    if not math.isnan(truth.hidden):
        scores["hidden_share"] = truth.hidden
    if answer.log_probs is not None:
        probabilities = np.exp(answer.log_probs)
        nll = negative_log_likelihood(answer.log_probs[None], np.array([truth.category]))
        none = len(answer.log_probs) - 1
        scores |= {"nll": float(nll[0]), "confidence": float(probabilities.max())}
        scores |= {"none_probability": float(probabilities[none]), "is_none": float(truth.category == none)}
    return scores


def _pose_scores(answer: Answer, truth: Truth) -> Values:
    if answer.rotation is None or truth.rotation is None:
        return {}
    is_right = answer.chosen == truth.category
    exact = float(pose_error_deg(answer.rotation[None], truth.rotation[None])[0])
    symmetric = float(pose_error_deg(answer.rotation[None], truth.rotation[None], truth.symmetry)[0])
    scores = {"rotation_deg": exact, "symmetric_deg": symmetric}
    for limit, name in ((PI_6_DEG, "pi6"), (PI_18_DEG, "pi18")):
        scores |= {f"pose_{name}": float(exact < limit), f"symmetric_{name}": float(symmetric < limit)}
        scores[f"joint_{name}"] = float(exact < limit and is_right)
    return scores


def _outline_scores(answer: Answer, truth: Truth) -> Values:
    scores = {}
    if answer.visible is not None:
        scores["visible_iou"] = outline_iou(answer.visible, truth.visible)
    if truth.amodal is None:
        return scores
    is_hidden = truth.hidden >= LEAST_HIDDEN
    if answer.amodal is not None:
        scores["amodal_iou"] = outline_iou(answer.amodal, truth.amodal)
        scores["boundary_f"] = boundary_f(answer.amodal, truth.amodal)
        if answer.visible is not None and is_hidden:
            scores["hidden_iou"] = hidden_iou(answer.amodal, answer.visible, truth.amodal, truth.visible)
    if answer.occluder is not None and is_hidden:
        area = occluder_auc(answer.occluder, truth.amodal, truth.visible)
        scores |= {} if area is None else {"occluder_auc": area}
    return scores


def _maps(part: Float[Tensor, "B 1 H W"], image_px: int) -> Float[np.ndarray, "B H W"]:
    part = part.detach().float().nan_to_num(nan=0.0)
    if part.shape[-1] != image_px:
        part = interpolate(part, (image_px, image_px), mode="bilinear", align_corners=False)
    return part[:, 0].cpu().numpy()
