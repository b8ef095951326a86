"""Results of a table: our means and spreads next to the paper's figures, and a verdict on each claim."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from raylift.evaluation.comparison.curves import Curve, rises, saved_share
from raylift.evaluation.comparison.paired import (
    Estimate,
    ObjectScores,
    Verdict,
    doubt,
    mean_estimate,
    object_scores,
    paired_difference,
    verdict,
)
from raylift.evaluation.report import MODEL_METHOD, metric_spec
from raylift.metrics.scores import mean_of, median_of
from raylift.tables.paper_table import BASELINE, Claim, PaperTable, Quoted, TableRow


@dataclass(frozen=True)
class RowResult:
    """The results of a row, by seed.

    Attributes:
        scores: contents of the evaluations' ``scores.json``.
        curves: curves by metric.
        minutes: training time.
        problems: why a seed has no scores.
    """

    row: TableRow
    scores: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[int, Mapping[str, Curve]] = field(default_factory=dict)
    minutes: Mapping[int, float] = field(default_factory=dict)
    problems: Mapping[int, str] = field(default_factory=dict)

    def objects(self, metric: str, method: str = MODEL_METHOD) -> dict[int, dict[str, float]]:
        """Values by seed and object."""
        return {seed: object_scores(content["objects"], metric, method) for seed, content in self.scores.items()}


@dataclass(frozen=True)
class Cell:
    """Our figure for one metric.

    Attributes:
        mean: over objects and seeds, with its interval.
        spread: standard deviation of the seeds' means; None for one seed.
        median: over objects, averaged over seeds.
        paper, paper_median: the paper's figures, or None.
    """

    mean: Estimate
    spread: float | None
    median: float
    paper: float | None
    paper_median: float | None

    def text(self, factor: float) -> str:
        """Mean, spread over seeds and (median), formatted as in papers."""
        spread = "" if self.spread is None else f" ±{factor * self.spread:.3f}"
        return f"{factor * self.mean.mean:.3f}{spread} ({factor * self.median:.3f})"

    def paper_text(self, factor: float) -> str:
        """The paper's mean (median)."""
        shown = "" if self.paper is None else f"{factor * self.paper:.4g}"
        return shown if self.paper_median is None else f"{shown} ({factor * self.paper_median:.4g})"


@dataclass(frozen=True)
class ClaimResult:
    """A claim and the verdict of our runs.

    Attributes:
        gain: by how much the row is better: for scores in the score's unit, for steps as the fraction of the run saved.
        paper_gain: the paper's gain, or None if it prints no figures for both.
        why: what keeps it undecided, besides the interval.
    """

    claim: Claim
    verdict: Verdict
    gain: Estimate | None
    paper_gain: float | None
    why: str = ""


def cell(result: RowResult, metric: str, method: str = MODEL_METHOD) -> Cell | None:
    """One cell; None if there is no such score."""
    by_seed = result.objects(metric, method)
    mean = mean_estimate(list(by_seed.values()))
    if mean is None:
        return None
    means = [mean_of(list(values.values())) for values in by_seed.values()]
    own = method == MODEL_METHOD
    return Cell(
        mean=mean,
        spread=statistics.stdev(means) if len(means) > 1 else None,
        median=mean_of([median_of(list(values.values())) for values in by_seed.values()]),
        paper=result.row.paper.get(metric) if own else None,
        paper_median=result.row.paper_median.get(metric) if own else None,
    )


def evaluate_claims(table: PaperTable, results: Mapping[str, RowResult]) -> list[ClaimResult]:
    """Every claim of a table.

    Args:
        results: by the row's name; rows that were not run are missing.
    """
    by_kind: dict[str, Callable[[PaperTable, Claim, Mapping[str, RowResult]], ClaimResult]] = {
        "score": _judge_score,
        "steps": _judge_steps,
    }
    return [by_kind[claim.by](table, claim, results) for claim in table.claims]


def _judge_score(table: PaperTable, claim: Claim, results: Mapping[str, RowResult]) -> ClaimResult:
    sign = 1.0 if metric_spec(claim.metric).higher_is_better else -1.0
    names = (claim.better, claim.than)
    sides = [
        _values(table, name, claim.metric, results, against)
        for name, against in zip(names, reversed(names), strict=True)
    ]
    ours, theirs, why = _in_common(*sides)
    if not claim.needs_training:
        ours, theirs = ours[:1], theirs[:1]  # a baseline is the same with every seed
    gain = paired_difference(*([_signed(some, sign) for some in side] for side in (ours, theirs))) if ours else None
    return _claim_result(table, claim, gain, why or ("" if gain else "no object has this metric in both"), sign)


def _judge_steps(table: PaperTable, claim: Claim, results: Mapping[str, RowResult]) -> ClaimResult:
    sides = [
        {seed: some[claim.metric] for seed, some in results[name].curves.items() if some.get(claim.metric)}
        if name in results
        else {}
        for name in (claim.better, claim.than)
    ]
    ours, theirs, why = _in_common(*sides)
    shares = [saved_share(left, right, rises(claim.metric)) for left, right in zip(ours, theirs, strict=True)]
    saved = [{"run": share} for share in shares if share is not None]
    gain = paired_difference(saved, [{"run": 0.0}] * len(saved)) if saved else None
    return _claim_result(table, claim, gain, why or ("" if gain else "no curves of two points or more"), None)


def _claim_result(table: PaperTable, claim: Claim, gain: Estimate | None, why: str, sign: float | None) -> ClaimResult:
    if gain is not None:
        why = doubt(gain, claim.needs_training)
    shown: list[TableRow | Quoted] = [*table.rows, *table.quoted]
    printed = {row.name: row.paper.get(claim.metric) for row in shown}
    better, than = printed.get(claim.better), printed.get(claim.than)
    known = sign is not None and better is not None and than is not None
    paper_gain = sign * (better - than) if known else None  # type: ignore[operator]
    return ClaimResult(claim, verdict(gain, claim.needs_training), gain, paper_gain, why)


def _values(
    table: PaperTable, name: str, metric: str, results: Mapping[str, RowResult], against: str
) -> Mapping[int, Mapping[str, float]]:
    """A row's values by seed and object; of a baseline, those of the row that it is compared with, where it has any."""
    if not name.startswith(BASELINE):
        return results[name].objects(metric) if name in results else {}
    found = baseline_objects(table, results, name.removeprefix(BASELINE), metric)
    seeds = {seed for result in results.values() for seed in result.scores}
    chosen = found.get(against) or next(iter(found.values()), {})
    return dict.fromkeys(seeds, chosen) if chosen else {}


def baseline_methods(results: Mapping[str, RowResult]) -> list[str]:
    """Every unlearned answer that some row was measured with."""
    rows = (row for result in results.values() for content in result.scores.values() for row in content["objects"])
    return sorted({row["method"] for row in rows} - {MODEL_METHOD})


def baseline_objects(
    table: PaperTable, results: Mapping[str, RowResult], method: str, metric: str
) -> dict[str, dict[str, float]]:
    """A baseline's values by row and object.

    It depends on no seed, but on what the row's model is given: a grid, interpolated, is another in each row that has
    another grid.
    """
    found = {}
    for row in table.rows:
        by_seed = results[row.name].objects(metric, method) if row.name in results else {}
        values = next((some for some in by_seed.values() if some), None)
        if values:
            found[row.name] = dict(values)
    return found


def _in_common(left: Mapping[int, Any], right: Mapping[int, Any]) -> tuple[list[Any], list[Any], str]:
    seeds = sorted(set(left) & set(right))
    if not seeds:
        return [], [], "not run, or not both" if not (left and right) else "no seed in common"
    return [left[seed] for seed in seeds], [right[seed] for seed in seeds], ""


def _signed(scores: ObjectScores, sign: float) -> ObjectScores:
    return {name: sign * value for name, value in scores.items()}


def rows_of(claims: Sequence[ClaimResult]) -> list[dict[str, Any]]:
    """Claims as rows of a table for a tracker or a file."""
    return [
        {
            "better": one.claim.better,
            "than": one.claim.than,
            "metric": one.claim.metric,
            "by": one.claim.by,
            "verdict": one.verdict,
            "gain": None if one.gain is None else one.gain.mean,
            "low": None if one.gain is None else one.gain.low,
            "high": None if one.gain is None else one.gain.high,
            "objects": 0 if one.gain is None else one.gain.num_objects,
            "seeds": 0 if one.gain is None else one.gain.num_seeds,
            "paper_gain": one.paper_gain,
            "why": one.why,
            "says": one.claim.says,
        }
        for one in claims
    ]


def score_rows(table: PaperTable, results: Mapping[str, RowResult]) -> list[dict[str, Any]]:
    """Every figure as rows of a table for a tracker or a file: one per row and metric, in plain units."""
    rows = []
    for name, result in results.items():
        for column in table.columns:
            found = cell(result, column.metric)
            rows.append(
                {
                    "row": name,
                    "metric": column.metric,
                    "mean": None if found is None else found.mean.mean,
                    "low": None if found is None else found.mean.low,
                    "high": None if found is None else found.mean.high,
                    "spread": None if found is None else found.spread,
                    "median": None if found is None else found.median,
                    "objects": 0 if found is None else found.mean.num_objects,
                    "seeds": len(result.scores),
                    "paper": result.row.paper.get(column.metric),
                    "paper_median": result.row.paper_median.get(column.metric),
                }
            )
    return rows
