"""Failures that a rising validation curve can hide, each with its remedy.

Some are seen in reconstructions (collapsed cameras, flat shapes, floaters). Others only a model can know, such as what
its renderer paints where there is no object, or whether its discriminator still learns. A model reports such a
statistic by name from ``Model.scores``; its mean over the validation samples is logged as ``val/NAME``, and these names
are known here:

==================  ====================================================================================================
painted_background  share of a rendered image's colour energy outside of its object, in [0, 1]
                    (``metrics.painted_background``); rings above ``PAINTED_SHARE``
real_sign           mean sign of the discriminator's logit on real training images, in [-1, 1] (ADA's statistic, Karras
                    et al. 2020); rings beyond ``SATURATED_SIGN`` on either side
fake_diversity      spread of generated images over that of real ones, 0 if all are equal; rings below
                    ``LEAST_DIVERSITY``
hypothesis_entropy  entropy of how often each camera hypothesis wins, over the largest possible, in [0, 1]; collapsed
                    cameras ring below ``LEAST_ENTROPY``
==================  ====================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping

ALARM = "alarm/"
COLLAPSED_CAMERAS, FLAT_SHAPES = f"{ALARM}collapsed_cameras", f"{ALARM}flat_shapes"
FLOATERS, PAINTED_BACKGROUND = f"{ALARM}floaters", f"{ALARM}painted_background"
DEAD_DISCRIMINATOR = f"{ALARM}dead_discriminator"
COLLAPSED_CLASSES, COLLAPSED_POSES = f"{ALARM}collapsed_classes", f"{ALARM}collapsed_poses"

COLLAPSED_SPREAD_DEG = 20.0
"""Spread of predicted azimuths below which they have collapsed to one side."""
MANY_SIDED_SPREAD_DEG = 40.0
"""Spread of true azimuths below which the images may really be seen from one side."""
COLLAPSED_VARIANCE, ALL_SIDED_VARIANCE = 0.5, 0.75
"""Circular variance of predicted azimuths below which they have collapsed, if that of the true ones is known to be at
least the second."""
LEAST_ENTROPY = 0.5
FLAT_THICKNESS = 0.08
"""Median thickness below which half of the shapes are sheets or empty; a ball has 1."""
FLAT_DEPTH_RATIO = 0.5
"""Median of the depth along the input's ray over the true one, below which half of the shapes are reliefs."""
FLAT_UNSEEN_GAP = -0.25
"""Silhouette IoU in other views minus that in the input's, below which shapes fit one view only."""
LEAST_LARGEST_COMPONENT = 0.98
PAINTED_SHARE = 0.05
SATURATED_SIGN = 0.98
LEAST_DIVERSITY = 0.05
LEAST_CLASS_SHARE = 0.5
"""Effective number of predicted classes over that of the true ones at which classes have collapsed."""

MEANINGS: Mapping[str, str] = {
    COLLAPSED_CAMERAS: (
        "the model sees almost every image from one side (its azimuths spread far less than the images' own, or one"
        " camera hypothesis wins almost always), so its shapes fit one view and are not 3D: start from fitted poses,"
        " limit the camera range, or raise the weight that balances hypotheses"
    ),
    FLAT_SHAPES: (
        f"shapes are flat or empty: half of them are thinner than {FLAT_THICKNESS} of their width or less than"
        f" {FLAT_DEPTH_RATIO} of the true depth, or silhouettes in other views have an IoU lower than the input's by"
        f" {-FLAT_UNSEEN_GAP}; check the panels: the cameras or the iso-level may be wrong, or the losses on other"
        " views too weak"
    ),
    FLOATERS: (
        f"half of the shapes have loose parts (the largest holds less than {LEAST_LARGEST_COMPONENT:.0%} of the"
        " volume): raise the weight that keeps the field smooth, check the iso-level, or keep the largest part only"
    ),
    PAINTED_BACKGROUND: (
        f"more than {PAINTED_SHARE:.0%} of the rendered colour is outside of the object, so images are fitted by paint"
        " and not by shape: composite colours with the object's own coverage, and draw random backgrounds"
    ),
    DEAD_DISCRIMINATOR: (
        "the discriminator teaches nothing any more: it is always right (or always wrong) about real images, or all"
        " generated images are alike; raise its gradient penalty or the augmentation, or lower its learning rate"
    ),
    COLLAPSED_CLASSES: (
        "the model tells far fewer classes than the images show, so it hardly looks at them: check that categories are"
        " balanced and that the loss between classes has weight, or lower the learning rate"
    ),
    COLLAPSED_POSES: (
        "the model sees almost every object from one side, although the images do not (its azimuths spread far less"
        " than the true ones): check the camera convention of the data and the weight of the loss on poses"
    ),
}
"""By metric: the meaning of the value 1, and the remedy."""


def collapsed_cameras(spread_deg: float, true_spread_deg: float | None, hypothesis_entropy: float = math.nan) -> float:
    """1 if predicted azimuths have collapsed although the images are, or may be (None: unknown), many-sided.

    Args:
        spread_deg: circular standard deviation of predicted azimuths.
        true_spread_deg: that of true azimuths.
        hypothesis_entropy: in [0, 1]; NaN if the model has no hypotheses.
    """
    many_sided = true_spread_deg is None or true_spread_deg >= MANY_SIDED_SPREAD_DEG
    all_sided = true_spread_deg is not None and _circular_variance(true_spread_deg) >= ALL_SIDED_VARIANCE
    return float(
        (many_sided and spread_deg < COLLAPSED_SPREAD_DEG)
        or (all_sided and _circular_variance(spread_deg) < COLLAPSED_VARIANCE)
        or (many_sided and hypothesis_entropy < LEAST_ENTROPY)
    )


def flat_shapes(thickness_median: float, depth_ratio_median: float = math.nan, unseen_gap: float = math.nan) -> float:
    """1 if half of the shapes are flat or empty, or if they only fit the input's view; NaN is unknown.

    Args:
        thickness_median: see ``evaluation.validation.thickness``.
        depth_ratio_median: depth along the input's ray over the true one.
        unseen_gap: silhouette IoU in other views minus that in the input's view.
    """
    return float(
        thickness_median < FLAT_THICKNESS or depth_ratio_median < FLAT_DEPTH_RATIO or unseen_gap < FLAT_UNSEEN_GAP
    )


def floaters(largest_component_median: float) -> float:
    """1 if half of the shapes have loose parts; NaN is unknown. An empty shape (0) is flat and has no loose parts."""
    return float(0 < largest_component_median < LEAST_LARGEST_COMPONENT)


def collapsed_classes(predicted: float, truth: float) -> float:
    """1 if a recogniser's classes have collapsed, although the images show two or more.

    Args:
        predicted, truth: effective numbers of classes (exponential of the entropy of their frequencies).
    """
    return float(truth > 1.5 and predicted <= max(1.0, LEAST_CLASS_SHARE * truth))


def model_alarms(statistics: Mapping[str, float]) -> dict[str, float]:
    """The alarms about statistics that a model reports; none about those that it does not.

    Args:
        statistics: means by name, see above; other names are ignored.
    """
    found: dict[str, float] = {}
    if "painted_background" in statistics:
        found[PAINTED_BACKGROUND] = float(statistics["painted_background"] > PAINTED_SHARE)
    if "real_sign" in statistics or "fake_diversity" in statistics:
        saturated = abs(statistics.get("real_sign", 0.0)) > SATURATED_SIGN
        found[DEAD_DISCRIMINATOR] = float(saturated or statistics.get("fake_diversity", 1.0) < LEAST_DIVERSITY)
    return found


def _circular_variance(spread_deg: float) -> float:
    """1 - R, from the circular standard deviation sqrt(-2 ln R): 0 for equal angles, 1 for those of a full turn."""
    return 1.0 - math.exp(-(math.radians(spread_deg) ** 2) / 2)


class AlarmBell:
    """Reports an alarm when it starts: not again while it lasts, but again if it returns."""

    def __init__(self) -> None:
        self._on: set[str] = set()

    def news(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Alarms that start with these metrics, with their meanings."""
        found = {}
        for name, meaning in MEANINGS.items():
            if name not in metrics:
                continue
            if metrics[name] and name not in self._on:
                found[name] = meaning
            (self._on.add if metrics[name] else self._on.discard)(name)
        return found
