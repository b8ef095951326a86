"""The named protocols for shape: each published way of sampling, scaling and averaging, under its own name.

A predicted mesh without faces (the field never crosses its level) counts, as in OccNet: no overlap, distances of the
unit cube's diagonal, sqrt(3), and fractions of 0. Omitting it, as IF-Net does, would reward a model that predicts
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from raylift.core.types import Field
from raylift.metrics.alignment import gradient_icp
from raylift.metrics.corner_lattice import corner_lattice
from raylift.metrics.iou import iou
from raylift.metrics.nearest import Cloud, match
from raylift.metrics.scores import ScoreTable, mean_of
from raylift.metrics.shape_pair import ShapePair, TargetShape
from raylift.metrics.surface_distance import (
    chamfer_l1,
    chamfer_l2,
    chamfer_sum,
    fraction_within,
    harmonic_mean,
    normal_consistency,
)

EMPTY_DISTANCE = math.sqrt(3.0)
DISN_PERCENTS = (1, 2, 5)
DISN_SIDE = 2.5
"""Length that DISN's percent thresholds refer to, in radii of the unit sphere."""
MESHRCNN_THRESHOLDS = (0.1, 0.3, 0.5)
SOLID_PERCENTS = (1, 5)
"""Percentages of the unit cube's edge that the F-scores of ``solid32`` use as thresholds."""
GSO_THRESHOLDS = (0.1, 0.2, 0.5)
ICP_POINTS = 1024
QUICK_POINTS = 25_000


@dataclass(frozen=True)
class MetricSpec:
    """How to read one score.

    Attributes:
        higher_is_better: whether larger values are better.
        printed_factor: factor of the value printed in papers (``x10``, ``x10^4``); reports keep the plain value.
    """

    higher_is_better: bool
    printed_factor: float = 1.0


@dataclass(frozen=True)
class ShapeProtocol:
    """A named way to score a shape.

    Attributes:
        score: function that scores one comparison; keys are ``metrics``.
        metrics: metrics per object, in printing order.
        main: metric that ranks objects from worst to best.
    """

    score: Callable[[ShapePair], dict[str, float]]
    metrics: Mapping[str, MetricSpec]
    main: str


def points(pair: ShapePair) -> dict[str, float]:
    """IoU at the first 25 000 of OccNet's points, without any surface metric: for tables of many trainings.

    A field is evaluated directly (``field_points``): its IoU differs from ``occnet``'s by the discretisation of an
    extraction, and by the smaller sample, which is the same for every method: a standard error of 0.014 for one shape,
    if the union fills a twentieth of the cube and the IoU is 0.6.
    """
    return _overlap(pair.truth, pair.predicted.inside.contains, QUICK_POINTS)


def field_points(field: Field, level: float, truth: TargetShape) -> dict[str, float]:
    """``points`` of a field that is below ``level`` inside, without a mesh."""

    def contains(points: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N"]:
        with torch.no_grad():
            return (field.values_at(torch.from_numpy(points).float().to(field.device)) < level).cpu().numpy()

    return _overlap(truth, contains, QUICK_POINTS)


def _overlap(
    truth: TargetShape, contains: Callable[[Float[np.ndarray, "N 3"]], Bool[np.ndarray, "N"]], count: int | None = None
) -> dict[str, float]:
    """IoU at the first ``count`` stored points, if the truth has them."""
    if truth.iou_points is None or truth.iou_inside is None:
        return {}
    return {"iou": iou(contains(truth.iou_points[:count]), truth.iou_inside[:count])}


def occnet(pair: ShapePair) -> dict[str, float]:
    """Occupancy Networks (Mescheder et al. 2019).

    100 000 surface points; Chamfer-L1 = (accuracy + completeness) / 2 of mean distances (printed x10); Chamfer-L2 =
    half the sum of mean squares; normal consistency = mean absolute cosine, both ways, averaged, and -1 without faces;
    IoU of the *mesh* at 100 000 stored uniform points in the unit cube padded by 0.1. Published figures use one view
    per object.
    """
    near = None if pair.predicted.is_empty else pair.near(100_000)
    scores = _overlap(pair.truth, pair.predicted.inside.contains)
    scores["chamfer_l1"] = chamfer_l1(near) if near else EMPTY_DISTANCE
    scores["chamfer_l2"] = chamfer_l2(near) if near else EMPTY_DISTANCE**2
    scores["normal_consistency"] = normal_consistency(near) if near else -1.0
    return scores


def ifnet(pair: ShapePair) -> dict[str, float]:
    """IF-Net (Chibane et al. 2020), which tables 1-3 of the implicit paper follow.

    Both shapes are moved and scaled so that the true bounding box is centred and its longest edge is 1 (a data set's
    true meshes are slightly larger: their sheets have a thickness). 100 000 surface points; Chamfer-L2 = (mean square +
    mean square) / 2 (printed x10^4); absolute normals; IoU at 1 000 000 uniform points of the box [-0.5, 0.5]^3.
    """
    scale = pair.truth.unit_box.scale
    inside = pair.predicted.inside.contains(pair.truth.million_points)
    scores = {"iou": iou(inside, pair.truth.million_inside)}
    near = None if pair.predicted.is_empty else pair.near(100_000)
    scores["chamfer_l2"] = chamfer_l2(near) * scale**2 if near else EMPTY_DISTANCE**2
    scores["normal_consistency"] = normal_consistency(near) if near else 0.0
    return scores


def disn(pair: ShapePair) -> dict[str, float]:
    """DISN (Xu et al. 2019).

    Both shapes are moved and scaled so that the true one's surface fills the unit sphere around its mean. 2048 of each
    mesh's *vertices*, drawn with replacement; Chamfer = (mean square + mean square) x 1000; precision and recall below
    1, 2 and 5 % of 2.5, whose averages over a class make the F-score (``disn_f_scores``); IoU of dilated solids
    (``metrics.corner_lattice``). Published figures average 24 views of an object.
    """
    sphere = pair.truth.unit_sphere
    if pair.predicted.is_empty:
        empty = {f"{name}_{percent}": 0.0 for percent in DISN_PERCENTS for name in ("precision", "recall")}
        return {"iou": 0.0, "chamfer": 2 * (EMPTY_DISTANCE * sphere.scale) ** 2 * 1000, **empty}
    lattice = corner_lattice(sphere.apply(pair.predicted.vertices), pair.predicted.faces)
    scores = {"iou": lattice.iou(pair.truth.corner_lattice)}
    clouds = []
    for shape, purpose in ((pair.predicted, "disn predicted"), (pair.truth.shape, "disn truth")):
        vertices = sphere.apply(shape.surface_vertices)
        points = vertices[pair.rng(purpose).integers(0, len(vertices), 2048)]
        clouds.append(Cloud(points, np.zeros_like(points)))
    near = match(*clouds)
    scores["chamfer"] = chamfer_sum(near) * 1000
    for percent in DISN_PERCENTS:
        threshold = percent / 100 * DISN_SIDE
        scores[f"precision_{percent}"] = fraction_within(near.accuracy, threshold)
        scores[f"recall_{percent}"] = fraction_within(near.completeness, threshold)
    return scores


def deepsdf(pair: ShapePair) -> dict[str, float]:
    """DeepSDF (Park et al. 2019): the sum of both mean squares over 30 000 surface points (printed x10^3)."""
    return {"chamfer": 2 * EMPTY_DISTANCE**2 if pair.predicted.is_empty else chamfer_sum(pair.near(30_000))}


def meshrcnn(pair: ShapePair) -> dict[str, float]:
    """Mesh R-CNN (Gkioxari et al. 2019).

    10 000 surface points, scaled so that the longest edge of the truth's bounding box is 10; Chamfer = the sum of both
    mean squares; F1 at 0.1, 0.3 and 0.5 (printed x100).
    """
    scale = 10.0 / float(np.ptp(pair.truth.shape.surface_vertices, axis=0).max())
    if pair.predicted.is_empty:
        return {"chamfer": 2 * (EMPTY_DISTANCE * scale) ** 2, **{f"f1_{at}": 0.0 for at in MESHRCNN_THRESHOLDS}}
    near = pair.near(10_000)
    scores = {"chamfer": chamfer_sum(near) * scale**2}
    for at in MESHRCNN_THRESHOLDS:
        precision, recall = fraction_within(near.accuracy, at / scale), fraction_within(near.completeness, at / scale)
        scores[f"f1_{at}"] = harmonic_mean(precision, recall)
    return scores


def unicorn(pair: ShapePair) -> dict[str, float]:
    """UNICORN (Monnier et al. 2022).

    100 000 surface points; Chamfer-L1 (printed x10) after a gradient ICP of 100 iterations with anisotropic scale,
    fitted to 1024 points of each surface; and before it, which the paper does not report. The ICP is local: callers
    must bring the shapes into one frame first (``geometry.placement``).
    """
    if pair.predicted.is_empty:
        return {"chamfer_l1": EMPTY_DISTANCE, "chamfer_l1_unaligned": EMPTY_DISTANCE}
    truth = pair.truth.cloud(100_000)
    alignment = gradient_icp(pair.surface.first(ICP_POINTS).points, truth.first(ICP_POINTS).points)
    aligned = Cloud(alignment.apply(pair.surface.points), pair.surface.normals)
    return {
        "chamfer_l1": chamfer_l1(match(aligned, truth)),
        "chamfer_l1_unaligned": chamfer_l1(pair.near(100_000)),
    }


def solid32(pair: ShapePair) -> dict[str, float]:
    """The solid in the unit cube, for models without known cameras; ours, close to the evaluations of such models.

    Nothing is moved or scaled per object: callers must bring the shapes into one frame first, by one alignment for all
    (``evaluation.images.solid_alignment``). IoU at the 32^3 voxel centres of [-0.5, 0.5]^3, inside or outside of each
    mesh; 100 000 surface points; Chamfer-L1 = (accuracy + completeness) / 2 of mean distances (printed x10);
    F-score at 1 and 5 % of the cube's edge; mean absolute cosine of normals, both ways, averaged.
    """
    scores = {"iou": iou(pair.predicted.solid, pair.truth.shape.solid)}
    if pair.predicted.is_empty:
        return {
            **scores,
            "chamfer_l1": EMPTY_DISTANCE,
            **{f"f_score_{percent}": 0.0 for percent in SOLID_PERCENTS},
            "normal_consistency": 0.0,
        }
    near = pair.near(100_000)
    scores["chamfer_l1"] = chamfer_l1(near)
    for percent in SOLID_PERCENTS:
        within = (fraction_within(distances, percent / 100) for distances in (near.accuracy, near.completeness))
        scores[f"f_score_{percent}"] = harmonic_mean(*within)
    scores["normal_consistency"] = normal_consistency(near)
    return scores


def gso(pair: ShapePair) -> dict[str, float]:
    """What papers on Google's scanned objects print, such as TripoSR and InstantMesh (2024).

    Both shapes are scaled so that the longest edge of the true bounding box is 2, that of the cube [-1, 1]^3. 16 000
    surface points; Chamfer-L1 = (accuracy + completeness) / 2 of mean distances; F-score at 0.1, 0.2 and 0.5. They
    align each output first, so set ``evaluation.align=similarity``. Details differ between papers (some print the sum
    of both distances), so compare figures within one table only.
    """
    scale = 2 * pair.truth.unit_box.scale
    if pair.predicted.is_empty:
        return {"chamfer_l1": EMPTY_DISTANCE * scale, **{f"f_score_{at}": 0.0 for at in GSO_THRESHOLDS}}
    near = pair.near(16_000)
    scores = {"chamfer_l1": chamfer_l1(near) * scale}
    for at in GSO_THRESHOLDS:
        precision, recall = (fraction_within(some, at / scale) for some in (near.accuracy, near.completeness))
        scores[f"f_score_{at}"] = harmonic_mean(precision, recall)
    return scores


def disn_f_scores(table: ScoreTable, category: str | None = None) -> dict[str, float]:
    """DISN's F-score of a class: from its averaged precision and recall, not the average of the objects' F-scores.

    Over several classes, DISN weights their averages by the number of objects: the average over all objects.
    """
    scores = {}
    for percent in DISN_PERCENTS:
        precision = table.values(f"disn/precision_{percent}", category)
        recall = table.values(f"disn/recall_{percent}", category)
        if precision:
            scores[f"f_score_{percent}"] = harmonic_mean(mean_of(precision), mean_of(recall))
    return scores


_UP, _DOWN = MetricSpec(True), MetricSpec(False)

SHAPE_PROTOCOLS: Mapping[str, ShapeProtocol] = {
    "occnet": ShapeProtocol(
        occnet,
        {
            "iou": _UP,
            "chamfer_l1": MetricSpec(False, 10),
            "chamfer_l2": MetricSpec(False, 1e4),
            "normal_consistency": _UP,
        },
        "iou",
    ),
    "points": ShapeProtocol(points, {"iou": _UP}, "iou"),
    "ifnet": ShapeProtocol(ifnet, {"iou": _UP, "chamfer_l2": MetricSpec(False, 1e4), "normal_consistency": _UP}, "iou"),
    "disn": ShapeProtocol(
        disn,
        {
            "iou": _UP,
            "chamfer": _DOWN,
            **{f"{name}_{percent}": _UP for percent in DISN_PERCENTS for name in ("precision", "recall")},
        },
        "iou",
    ),
    "deepsdf": ShapeProtocol(deepsdf, {"chamfer": MetricSpec(False, 1e3)}, "chamfer"),
    "meshrcnn": ShapeProtocol(
        meshrcnn, {"chamfer": _DOWN, **{f"f1_{at}": MetricSpec(True, 100) for at in MESHRCNN_THRESHOLDS}}, "f1_0.1"
    ),
    "unicorn": ShapeProtocol(
        unicorn, {"chamfer_l1": MetricSpec(False, 10), "chamfer_l1_unaligned": MetricSpec(False, 10)}, "chamfer_l1"
    ),
    "solid32": ShapeProtocol(
        solid32,
        {
            "iou": _UP,
            "chamfer_l1": MetricSpec(False, 10),
            **{f"f_score_{percent}": _UP for percent in SOLID_PERCENTS},
            "normal_consistency": _UP,
        },
        "iou",
    ),
    "gso": ShapeProtocol(gso, {"chamfer_l1": _DOWN, **{f"f_score_{at}": _UP for at in GSO_THRESHOLDS}}, "f_score_0.1"),
}
"""Protocols by name. Every reported shape score names one of these."""
