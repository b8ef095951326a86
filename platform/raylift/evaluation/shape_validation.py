"""What training watches of a data set of shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raylift.core.family import Family
from raylift.core.types import Batch, SampleRequest
from raylift.evaluation.alarms import FLAT_SHAPES, flat_shapes
from raylift.evaluation.validation import Validation, quick_iou

VALIDATION_POINTS = 4096
"""Stored points a sample that the validation IoU is measured at while training."""


class ShapeValidation(Validation):
    """IoU at stored points.

    Args:
        wanted: what the family's training samples carry.
    """

    def __init__(self, wanted: SampleRequest) -> None:
        self.request = replace(wanted, num_points=0, num_iou_points=VALIDATION_POINTS)

    def scores(self, family: Family, batches: Iterable[Batch], prefix: str = "val") -> dict[str, float]:
        found = quick_iou(family, batches, prefix)
        return found | {FLAT_SHAPES: flat_shapes(found[f"{prefix}/thickness_median"])}
