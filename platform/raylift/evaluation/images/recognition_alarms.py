"""Collapsed recognisers: answers that hardly depend on the image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from raylift.evaluation.alarms import COLLAPSED_CLASSES, COLLAPSED_POSES, collapsed_cameras, collapsed_classes
from raylift.evaluation.images.recognition_answers import Answer, Truth
from raylift.metrics.pose import azimuths_deg, circular_std_deg


@dataclass(frozen=True)
class Seen:
    """One answer and its truth, as far as a collapse shows in them.

    Attributes:
        category, true_category: chosen and true category; the number of categories means none of them.
        azimuth_deg, true_azimuth_deg: of the camera; NaN if unknown.
    """

    category: int
    true_category: int
    azimuth_deg: float
    true_azimuth_deg: float

    @staticmethod
    def of(answer: Answer, truth: Truth) -> Seen:
        """Of a model's answer."""
        assert answer.chosen is not None, "a model chooses a class"
        ours, theirs = (
            math.nan if one is None else float(azimuths_deg(one[None])[0]) for one in (answer.rotation, truth.rotation)
        )
        return Seen(answer.chosen, truth.category, ours, theirs)


def recognition_alarms(seen: Sequence[Seen]) -> dict[str, float]:
    """1 if classes or poses have collapsed, else 0, by the name of the alarm (``evaluation.alarms``)."""
    spreads = []
    for angles in ([one.azimuth_deg for one in seen], [one.true_azimuth_deg for one in seen]):
        known = torch.tensor([angle for angle in angles if math.isfinite(angle)], dtype=torch.float64)
        spreads.append(circular_std_deg(known))
    poses = 0.0 if math.isnan(spreads[0]) or math.isnan(spreads[1]) else collapsed_cameras(spreads[0], spreads[1])
    chosen, true = (
        effective_number(names) for names in ([one.category for one in seen], [one.true_category for one in seen])
    )
    return {COLLAPSED_CLASSES: collapsed_classes(chosen, true), COLLAPSED_POSES: poses}


def effective_number(names: Sequence[int]) -> float:
    """The exponential of the entropy of how often each occurs: n for n equally frequent ones; 0 without any."""
    shares = [count / len(names) for count in Counter(names).values()]
    return math.exp(-math.fsum(share * math.log(share) for share in shares)) if shares else 0.0
