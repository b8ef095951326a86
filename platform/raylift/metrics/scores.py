"""Scores of samples by id, and their summaries, which do not depend on the order in which the scores come."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


def mean_of(values: Sequence[float]) -> float:
    """The mean, correctly rounded (so it does not depend on the order); NaN without values."""
    return math.fsum(values) / len(values) if values else math.nan


def median_of(values: Sequence[float]) -> float:
    """The median, for an even number the mean of the middle two; NaN without values."""
    return float(statistics.median(values)) if values else math.nan


@dataclass(frozen=True)
class Score:
    """Scores of one reconstruction.

    Attributes:
        id: sample name, ``object_id#view``.
        category: category of the object.
        values: values by metric, for example ``occnet/chamfer_l1``. A value that does not exist for this object (colour
            without a view to compare with) is omitted, not set to NaN.
        object: object that the sample shows, where several samples show one; "" if it is the part of the id before "#".
    """

    id: str
    category: str
    values: Mapping[str, float]
    object: str = ""


@dataclass(frozen=True)
class Summary:
    """Mean and median of one metric over ``count`` reconstructions."""

    mean: float
    median: float
    count: int


@dataclass
class ScoreTable:
    """Scores of one method, by id."""

    scores: dict[str, Score] = field(default_factory=dict)

    def add(self, score: Score) -> None:
        """Add one score; a repeated id replaces it."""
        self.scores[score.id] = score

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def rows(self) -> list[Score]:
        """All scores in the order of their ids."""
        return [self.scores[name] for name in sorted(self.scores)]

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, in order of first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    @property
    def categories(self) -> list[str]:
        return sorted({row.category for row in self.scores.values()})

    def values(self, metric: str, category: str | None = None) -> list[float]:
        """One metric's values, by id, of one category or of all."""
        return [
            float(row.values[metric])
            for row in self.rows
            if metric in row.values and (category is None or row.category == category)
        ]

    def summary(self, metric: str, category: str | None = None) -> Summary:
        """Mean and median of one metric."""
        values = self.values(metric, category)
        return Summary(mean_of(values), median_of(values), len(values))

    def worst(self, metric: str, count: int, higher_is_better: bool) -> list[Score]:
        """The ``count`` worst scores, worst first; ties in the order of ids."""
        having = [row for row in self.rows if metric in row.values]
        return sorted(having, key=lambda row: row.values[metric] if higher_is_better else -row.values[metric])[:count]
