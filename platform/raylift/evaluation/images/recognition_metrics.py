"""The protocols of a recognition: which scores there are, and those of all samples together.

==============  ========================================================================================================
class           class without any help; ``nll`` is ``-log p`` of the true class, ``ece`` the expected calibration error;
                ``calibrated_*`` the same at a temperature fitted on the validation split
viewpoint       pose without any help: the rotation's error, and the shares below pi/6 and pi/18. ``joint_*`` counts a
                pose only if the class is right. ``symmetric_*`` is the error up to the true category's symmetry
outline         amodal, visible and hidden part, without any help; ``boundary_f`` of the amodal outline, ``hidden_iou``
                only where 5 % or more are hidden, and ``occluder_auc`` within the object where it is partly hidden
told            pose and outlines if the model is told the true class
L0 ... L3       class, viewpoint and outline by the share of the object that is hidden, see ``recognition_answers``
told_L0 ...     pose and outline by that share, if the model is told the true class
class_mean      unweighted mean over the true classes; the other protocols weigh images equally
==============  ========================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from raylift.data.scenes.levels import LEVELS
from raylift.metrics.protocols import MetricSpec
from raylift.metrics.recognition import area_under_curve, expected_calibration_error
from raylift.metrics.scores import ScoreTable, Summary, mean_of

BETWEEN = "between"
"""Name of what is at none of the levels of occlusion."""
_SHARE = MetricSpec(True, 100)
_CLASS = {
    "class_accuracy": _SHARE,
    "nll": MetricSpec(False),
    "ece": MetricSpec(False, 100),
    "calibrated_nll": MetricSpec(False),
    "calibrated_ece": MetricSpec(False, 100),
    "none_auc": MetricSpec(True),
}
_EXACT = {"rotation_deg": MetricSpec(False), "pose_pi6": _SHARE, "pose_pi18": _SHARE}
_JOINT = {"joint_pi6": _SHARE, "joint_pi18": _SHARE}
_SYMMETRIC = {"symmetric_deg": MetricSpec(False), "symmetric_pi6": _SHARE, "symmetric_pi18": _SHARE}
_OUTLINE = {
    "amodal_iou": MetricSpec(True),
    "boundary_f": MetricSpec(True),
    "visible_iou": MetricSpec(True),
    "hidden_iou": MetricSpec(True),
    "occluder_auc": MetricSpec(True),
}
_BY_LEVEL = {
    name: spec
    for name, spec in {**_CLASS, **_EXACT, **_JOINT, **_SYMMETRIC, **_OUTLINE}.items()
    if name
    in (
        "class_accuracy", "pose_pi6", "pose_pi18", "joint_pi6", "symmetric_pi6", "symmetric_pi18", "amodal_iou",
        "hidden_iou",
    )
}  # fmt: skip
_MEANS = {**_BY_LEVEL, "rotation_deg": MetricSpec(False), "symmetric_deg": MetricSpec(False)}
_TOLD_BY_LEVEL = {name: spec for name, spec in _BY_LEVEL.items() if name not in ("class_accuracy", "joint_pi6")}
TOLD = "told_"
RECOGNITION_METRICS: Mapping[str, Mapping[str, MetricSpec]] = {
    "viewpoint": {**_EXACT, **_JOINT, **_SYMMETRIC},
    "class": _CLASS,
    "outline": _OUTLINE,
    "told": {**_EXACT, **_SYMMETRIC, **_OUTLINE},
    **dict.fromkeys((*LEVELS, BETWEEN), _BY_LEVEL),
    **{f"{TOLD}{level}": _TOLD_BY_LEVEL for level in (*LEVELS, BETWEEN)},
    "class_mean": _MEANS,
}
"""Direction and printed factor of every metric, by protocol."""
MAIN_RECOGNITION_METRIC = {
    **dict.fromkeys(RECOGNITION_METRICS, "symmetric_pi6"),
    "viewpoint": "symmetric_deg",
    "class": "class_accuracy",
    "outline": "amodal_iou",
}
_NAMES = tuple(f"{protocol}/{name}" for protocol, metrics in RECOGNITION_METRICS.items() for name in metrics)
STORED = frozenset(
    f"class/{name}" for name in ("confidence", "calibrated_confidence", "none_probability", "is_none", "hidden_share")
)
"""Values stored with each sample that are no scores; some are summarised over all samples."""
_SHARES = ("class_accuracy", "pose_pi", "joint_pi", "symmetric_pi")


def by_protocol(found: Mapping[str, float], told: Mapping[str, float], level: str) -> dict[str, float]:
    """A sample's scores under the names of a report: ``viewpoint/pose_pi6``, ``told/pose_pi6``, ``L2/pose_pi6``.

    Args:
        found: scores by metric, without help.
        told: the same with the class told.
        level: level of occlusion; "" if unknown.
    """
    scores: dict[str, float] = {}
    for protocol in ("viewpoint", "class", "outline"):
        known = RECOGNITION_METRICS[protocol]
        scores |= {f"{protocol}/{name}": value for name, value in found.items() if name in known}
    scores |= {f"class/{name}": value for name, value in found.items() if f"class/{name}" in STORED}
    scores |= {f"told/{name}": value for name, value in told.items() if name in RECOGNITION_METRICS["told"]}
    if level:
        scores |= {f"{level}/{name}": value for name, value in found.items() if name in _BY_LEVEL}
        scores |= {f"{TOLD}{level}/{name}": value for name, value in told.items() if name in _TOLD_BY_LEVEL}
    return scores


def recognition_summaries(table: ScoreTable, category: str | None = None) -> dict[str, Summary]:
    """Summaries of a method's recognitions, in the order of ``RECOGNITION_METRICS``; empty for other evaluations.

    Shares have no median, nor have scores of all samples together.
    """
    protocols = [name for name in table.metrics if name.partition("/")[0] in RECOGNITION_METRICS]
    found = {metric: _summary(table, metric, category) for metric in protocols if metric not in STORED}
    found = {metric: summary for metric, summary in found.items() if summary.count}
    for kind in ("", "calibrated_"):
        if (error := _calibration_error(table, kind, category)) is not None:
            found[f"class/{kind}ece"] = error
    if (separation := _none_auc(table, category)) is not None:
        found["class/none_auc"] = separation
    found |= _class_means(table) if category is None else {}
    return {name: found[name] for name in _NAMES if name in found}


def _summary(table: ScoreTable, metric: str, category: str | None) -> Summary:
    whole = table.summary(metric, category)
    is_share = metric.partition("/")[2].startswith(_SHARES)
    return Summary(whole.mean, math.nan if is_share else whole.median, whole.count)


def _calibration_error(table: ScoreTable, kind: str, category: str | None) -> Summary | None:
    confidences = table.values(f"class/{kind}confidence", category)
    if not confidences:
        return None
    is_right = np.array(table.values("class/class_accuracy", category)) > 0.5
    return Summary(expected_calibration_error(np.array(confidences), is_right), math.nan, len(confidences))


def _none_auc(table: ScoreTable, category: str | None) -> Summary | None:
    """How well "none of them" separates objects of unknown categories from the others."""
    scores = table.values("class/none_probability", category)
    found = area_under_curve(np.array(scores), np.array(table.values("class/is_none", category)) > 0.5)
    return None if not scores or found is None else Summary(found, math.nan, len(scores))


def _class_means(table: ScoreTable) -> dict[str, Summary]:
    """Means over the true classes of their means and medians."""
    found = {}
    for protocol in ("class", "viewpoint", "outline"):
        for name in RECOGNITION_METRICS[protocol]:
            if name not in _MEANS:
                continue
            each = [_summary(table, f"{protocol}/{name}", one) for one in table.categories]
            each = [one for one in each if one.count]
            if each:
                medians = mean_of([one.median for one in each])
                found[f"class_mean/{name}"] = Summary(mean_of([one.mean for one in each]), medians, len(each))
    return found
