"""The baselines of recognition, on training images whose best constant answer and nearest neighbour are planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from raylift.evaluation.images.recognition_answers import Answer, Truth, score_answer
from raylift.evaluation.images.recognition_baselines import (
    CONSTANT,
    NEAREST_SILHOUETTE,
    RANDOM_POSE,
    SILHOUETTE_PX,
    VISIBLE_MASK,
    RecognitionBaselines,
    TrainingImages,
    best_mean,
)
from raylift.geometry.rotations import axis_angle_to_matrix

PX = SILHOUETTE_PX


def turned(degrees: float) -> torch.Tensor:
    return axis_angle_to_matrix(torch.tensor([0.0, math.radians(degrees), 0.0], dtype=torch.float64))


def slab(left: int, right: int) -> np.ndarray:
    outline = np.zeros((PX, PX), np.float32)
    outline[10:50, left:right] = 1
    return outline


def training() -> TrainingImages:
    """Five of the first class, seen from the front; two of the second, from two sides; the seen part is the left."""
    wholes = [slab(0, 20)] * 5 + [slab(30, 60)] * 2
    seen = [slab(0, 10)] * 5 + [slab(30, 45), slab(35, 60)]
    return TrainingImages(
        2,
        np.array([0] * 5 + [1] * 2),
        torch.stack([turned(angle) for angle in (0, 1, 2, 3, 120, 200, 201)]),
        np.stack([(255 * outline).astype(np.uint8) for outline in seen]),
        np.stack([(255 * outline).astype(np.uint8) for outline in wholes]),
    )


def truth(category: int = 1, angle: float = 205.0, seen: tuple[int, int] = (35, 58)) -> Truth:
    return Truth(category, turned(angle), slab(*seen), slab(30, 60))


def test_the_constant_is_the_majority_and_if_told_that_of_the_class() -> None:
    baselines = RecognitionBaselines(training())
    free, told = baselines.scores(truth())[CONSTANT]
    assert (free["class_accuracy"], free["pose_pi6"]) == (0.0, 0.0)
    assert free["nll"] == pytest.approx(-math.log(2 / 7))
    assert free["confidence"] == pytest.approx(5 / 7)
    assert told["pose_pi6"] == 1.0
    assert free["amodal_iou"] == 0.0
    assert told["amodal_iou"] == 1.0
    free, _ = baselines.scores(truth(0, 10.0))[CONSTANT]
    assert (free["class_accuracy"], free["pose_pi6"], free["joint_pi6"]) == (1.0, 1.0, 1.0)


def test_a_random_pose_has_its_expected_scores() -> None:
    free, told = RecognitionBaselines(training()).scores(truth(1, 205.0))[RANDOM_POSE]
    assert free["pose_pi6"] == pytest.approx(2 / 7)
    assert told["pose_pi6"] == 1.0
    assert told["pose_pi18"] == 1.0
    assert told["rotation_deg"] == pytest.approx(4.5)
    symmetric = Truth(1, turned(25.0), slab(35, 58), slab(30, 60), "half_turn")
    free, _ = RecognitionBaselines(training()).scores(symmetric)[RANDOM_POSE]
    assert free["pose_pi6"] == pytest.approx(4 / 7)
    assert free["symmetric_pi6"] == pytest.approx(6 / 7)


def test_the_nearest_silhouette_lends_its_class_pose_and_outline() -> None:
    baselines = RecognitionBaselines(training())
    free, told = baselines.scores(truth())[NEAREST_SILHOUETTE]
    assert free["class_accuracy"] == free["pose_pi18"] == free["amodal_iou"] == free["hidden_iou"] == 1.0
    assert free == told
    # It is given the visible silhouette, so having found it is no score of it.
    assert "visible_iou" not in free
    assert "nll" not in free
    other = truth(1, 205.0, seen=(0, 12))
    free, told = baselines.scores(other)[NEAREST_SILHOUETTE]
    assert (free["class_accuracy"], told["class_accuracy"]) == (0.0, 1.0)


def test_the_visible_mask_is_as_good_as_little_is_hidden() -> None:
    free, _ = RecognitionBaselines(training()).scores(truth())[VISIBLE_MASK]
    # Of boundaries of 122 and 136 pixels, 50 of each are within a pixel of the other: the upper and lower edges.
    boundary = pytest.approx(2 * 50 / (122 + 136))
    assert free == {"amodal_iou": pytest.approx(23 / 30), "boundary_f": boundary, "hidden_iou": 0.0}


def test_unknown_poses_and_classes_are_left_out() -> None:
    found = RecognitionBaselines(training()).scores(Truth(2, None, slab(35, 58), slab(30, 60)))
    assert RANDOM_POSE not in found
    free, told = found[CONSTANT]
    assert free["class_accuracy"] == 0.0
    assert "pose_pi6" not in free
    assert told == {}


def test_the_mean_outline_has_the_threshold_with_the_best_overlap() -> None:
    # One in three is wide: at a half the mean is narrow, which is right for two and half right for one.
    narrow, wide = slab(0, 10), slab(0, 40)
    coverages = np.stack([(255 * outline).astype(np.uint8) for outline in (narrow, wide, wide)])
    assert (best_mean(coverages) >= 0.5).sum() == wide.sum()
    coverages = np.stack([(255 * outline).astype(np.uint8) for outline in (narrow, narrow, wide)])
    assert (best_mean(coverages) >= 0.5).sum() == narrow.sum()
    # Four outlines that share nothing but a strip: alone it scores 1/4, all of them together score 1/4 + ...
    strips = [slab(0, 4) + slab(4 + 10 * index, 14 + 10 * index) for index in range(4)]
    coverages = np.stack([(255 * outline).astype(np.uint8) for outline in strips])
    kept = best_mean(coverages) >= 0.5
    every = np.max(strips, axis=0) > 0.5
    assert np.array_equal(kept, every)


def test_an_answer_without_a_part_has_no_score_of_it() -> None:
    assert score_answer(Answer(), truth()) == {}
    only_pose = score_answer(Answer(rotation=turned(200.0)), truth())
    assert "class_accuracy" not in only_pose
    assert only_pose["joint_pi6"] == 0.0
    whole = Truth(1, None, slab(30, 60), slab(30, 60))
    found = score_answer(Answer(amodal=slab(30, 60), visible=slab(30, 60), occluder=slab(0, 5)), whole)
    assert found == {"amodal_iou": 1.0, "boundary_f": 1.0, "visible_iou": 1.0}


@pytest.mark.parametrize(
    ("seen", "level"),
    [((0, 40), "L0"), ((1, 40), "L0"), ((3, 40), "between"), ((10, 40), "L1"), ((20, 40), "L2"), ((28, 40), "L3"),
     ((36, 40), "between")],
)  # fmt: skip
def test_levels_are_those_of_the_scenes(seen: tuple[int, int], level: str) -> None:
    assert Truth(0, None, slab(*seen), slab(0, 40)).level == level


def test_an_object_out_of_the_picture_has_no_level() -> None:
    assert Truth(0, None, slab(0, 0), slab(0, 0)).level == ""
    assert Truth(0, None, slab(0, 5), None).level == ""
