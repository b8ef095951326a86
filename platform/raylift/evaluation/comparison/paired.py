"""Is one model better than another? Differences paired over objects and seeds, with bootstrap confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from raylift.evaluation.report import MODEL_METHOD
from raylift.metrics.scores import mean_of

Verdict = Literal["confirmed", "refuted", "undecided"]
ObjectScores = Mapping[str, float]
"""One run's value of one metric, by object."""

CONFIDENCE = 0.95
DRAWS = 10_000
LEAST_UNITS = 5
"""Minimum number of pairs for a verdict: even if all of four agree, that happens by chance one time in eight."""
ONE_SEED = "one seed"
"""Why a claim about training stays undecided: an interval over objects says nothing about another training."""
_DRAWS_AT_ONCE = 500


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval.

    Attributes:
        low, high: interval bounds; NaN with fewer than two units to resample.
        num_objects, num_seeds: numbers of objects and seeds that the mean is over.
    """

    mean: float
    low: float
    high: float
    num_objects: int
    num_seeds: int = 1

    @property
    def num_units(self) -> int:
        """Number of resampled units: objects, or seeds if one object represents a whole run."""
        return self.num_objects if self.num_objects > 1 else self.num_seeds

    @property
    def text(self) -> str:
        """Such as ``+0.085 [+0.054, +0.118]``."""
        return f"{self.mean:+.3g} [{self.low:+.3g}, {self.high:+.3g}]"


def object_scores(rows: Iterable[Mapping[str, Any]], metric: str, method: str = MODEL_METHOD) -> dict[str, float]:
    """One metric of one method from an evaluation's ``objects`` rows; an object's views or images are averaged.

    Args:
        rows: ``EvaluationReport.object_rows``, or rows loaded from a file or a tracker.
    """
    values: dict[str, list[float]] = {}
    for row in rows:
        value = row.get(metric)
        if row["method"] == method and isinstance(value, int | float) and math.isfinite(value):
            shown = row.get("object") or str(row["id"]).rpartition("#")[0]
            values.setdefault(str(shown), []).append(float(value))
    return {name: mean_of(values[name]) for name in sorted(values)}


def mean_estimate(scores: Sequence[ObjectScores]) -> Estimate | None:
    """The mean over objects and seeds; None if no object has a value for every seed.

    Args:
        scores: one mapping per seed.
    """
    names = sorted(set.intersection(*(set(some) for some in scores))) if scores else []
    if not names:
        return None
    return _estimate(np.array([[some[name] for name in names] for some in scores]))


def paired_difference(left: Sequence[ObjectScores], right: Sequence[ObjectScores]) -> Estimate | None:
    """The mean of left - right over the objects that both have for every seed; None if there are none.

    Objects and seeds are resampled, each with replacement (Owen 2007, "The pigeonhole bootstrap"), so the interval
    covers other objects and other seeds; with one seed it says nothing about another training (``ONE_SEED``). Its
    percentiles are those of Hesterberg 2015 ("expanded percentile"): plain ones are too narrow for few objects.
    Resampling two or three seeds also underestimates the spread between seeds, so the interval is never narrower than
    Student's over the seeds' means.

    Args:
        left, right: one mapping per seed; the same seed at the same index.
    """
    pairs = list(zip(left, right, strict=True))
    names = sorted(set.intersection(*(set(ours) & set(theirs) for ours, theirs in pairs))) if pairs else []
    if not names:
        return None
    return _estimate(np.array([[ours[name] - theirs[name] for name in names] for ours, theirs in pairs]))


def doubt(gain: Estimate, trained: bool = True) -> str:
    """The reason why a gain is undecided whatever its interval; "" if the interval decides.

    Args:
        trained: whether either side is a trained model. Trainings of one recipe vary, and only other seeds show by how
            much.
    """
    if gain.num_units < LEAST_UNITS:
        units = "objects" if gain.num_objects > 1 else "seeds"
        return f"{gain.num_units} {units} are too few to decide ({LEAST_UNITS} at least)"
    return ONE_SEED if trained and gain.num_seeds < 2 else ""


def verdict(gain: Estimate | None, trained: bool = True) -> Verdict:
    """Whether a gain is certain: its interval is above 0 (confirmed), below 0 (refuted), or neither.

    Args:
        trained: see ``doubt``.
    """
    if gain is None or doubt(gain, trained) or math.isnan(gain.low):
        return "undecided"
    if gain.low > 0:
        return "confirmed"
    return "refuted" if gain.high < 0 else "undecided"


def _estimate(values: np.ndarray) -> Estimate:
    """Estimate from values [seeds, objects]."""
    num_seeds, num_objects = values.shape
    mean = mean_of(values.reshape(-1).tolist())
    units = num_objects if num_objects > 1 else num_seeds
    if units < 2:
        return Estimate(mean, math.nan, math.nan, num_objects, num_seeds)
    means = _drawn_means(values)
    tail = _expanded_tail(units)
    low, high = np.quantile(means, [tail, 1 - tail])
    if num_objects > 1 and num_seeds > 1:
        half = _students_half_width(values.mean(axis=1))
        low, high = min(low, mean - half), max(high, mean + half)
    return Estimate(mean, float(low), float(high), num_objects, num_seeds)


def _students_half_width(means: np.ndarray) -> float:
    """Half width of the interval of a mean, from a few independent values [n]."""
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(means) - 1)
    return float(quantile * means.std(ddof=1) / math.sqrt(len(means)))


def _drawn_means(values: np.ndarray) -> np.ndarray:
    """Means of tables with rows and columns resampled with replacement; deterministic."""
    rng = np.random.default_rng(0)
    num_seeds, num_objects = values.shape
    means = []
    for _ in range(DRAWS // _DRAWS_AT_ONCE):
        objects = rng.multinomial(num_objects, np.full(num_objects, 1 / num_objects), _DRAWS_AT_ONCE) / num_objects
        seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), _DRAWS_AT_ONCE) / num_seeds
        means.append(np.einsum("ds,so,do->d", seeds, values, objects, optimize=True))
    return np.concatenate(means)


def _expanded_tail(units: int) -> float:
    """The fraction to cut off at each end, so that a normal sample's interval is as wide as Student's."""
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, units - 1) * math.sqrt(units / (units - 1))
    return float(stats.norm.cdf(-quantile))
