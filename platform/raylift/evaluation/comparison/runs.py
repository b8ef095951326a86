"""Compares runs, and notes what is not comparable because they differ in model, data or evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from raylift.core.errors import ConfigError
from raylift.evaluation.comparison.paired import (
    Estimate,
    mean_estimate,
    object_scores,
    paired_difference,
)
from raylift.evaluation.report import METRICS, MODEL_METHOD, metric_spec
from raylift.tracking.reading import Points, TrackedRun

_OF_ONE_MODEL = ("loss/", "gradient_norm/", "learning_rate/")
"""Metrics that are comparable within one model only, although names are shared."""
_NEVER_ALIKE = ("throughput/", "system/", "epoch", "val/thickness", "alarm/")
"""Metrics that do not make runs comparable on their own."""


@dataclass(frozen=True)
class ScoreLine:
    """One metric over the runs.

    Attributes:
        metric: metric name with its protocol.
        higher_is_better: direction of the metric.
        factor: factor by which papers multiply the printed value.
        means: mean per run, with its interval over objects; None if not measured.
        gains: each run's improvement over the first, paired over objects; None if meaningless. Each run is one
            training, so no gain decides which recipe is better (``paired.ONE_SEED``).
    """

    metric: str
    higher_is_better: bool
    factor: float
    means: tuple[Estimate | None, ...]
    gains: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side, all compared with the first.

    Attributes:
        notes: remarks to read before comparing.
        params: recipe values that differ, by dotted path, per run; "" if a run has none.
        curves: metrics over the steps, per run; empty if a run has none.
        split: split of the scores; "" if no common one was evaluated.
        scores: one line per metric.
        shares_objects: whether all measured runs were measured on the same objects.
    """

    runs: tuple[TrackedRun, ...]
    notes: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]]
    curves: Mapping[str, tuple[Points, ...]]
    split: str
    scores: tuple[ScoreLine, ...]
    shares_objects: bool


def compare_runs(runs: Sequence[TrackedRun]) -> RunComparison:
    """Compare runs.

    Raises:
        ConfigError: fewer than two runs, a repeated run, or nothing comparable.
    """
    if len({run.run_id for run in runs}) < max(2, len(runs)):
        raise ConfigError(
            f"{len(runs)} runs are given, and {len({run.run_id for run in runs})} of them are different",
            "name two or more different runs",
        )
    split = _common_split(runs)
    same_model = len({run.model for run in runs}) == 1
    measured = [run for run in runs if split in run.scores]
    shares_objects = bool(measured) and len({run.data.get(split, "") for run in measured}) == 1
    pairs = shares_objects and len({how for run in measured if (how := _how(run, split))}) < 2
    scores = _score_lines(runs, split, pairs) if split else ()
    curves = _curves(runs, same_model)
    if not same_model and not scores and not any(not name.startswith(_NEVER_ALIKE) for name in curves):
        raise ConfigError(
            f"nothing in these runs can be compared: {_listed(runs, [run.model or 'unknown' for run in runs])} are"
            " different models without a common metric",
            "evaluate them on the same data with raylift evaluate, or compare runs of one model",
        )
    return RunComparison(
        runs=tuple(runs),
        notes=tuple(_notes(runs, split, same_model, shares_objects)),
        params=_differing_params(runs, same_model),
        curves=curves,
        split=split,
        scores=scores,
        shares_objects=shares_objects,
    )


def _common_split(runs: Sequence[TrackedRun]) -> str:
    """The split that most runs (at least two) were evaluated on; ties prefer "test"."""
    counts = {split: sum(split in run.scores for run in runs) for split in ("test", "val", "train")}
    best = max(counts, key=lambda split: counts[split])
    return best if counts[best] > 1 else ""


def _how(run: TrackedRun, split: str) -> str:
    """Resolution and number of views of its scores; "" for a run of a version that did not log them."""
    return run.tags.get(f"evaluation.{split}.how", "")


def _score_lines(runs: Sequence[TrackedRun], split: str, pairs: bool) -> tuple[ScoreLine, ...]:
    rows = [run.scores.get(split, ()) for run in runs]
    names = list(dict.fromkeys(name for some in rows for row in some if row["method"] == MODEL_METHOD for name in row))
    lines = []
    for metric in (name for name in names if "/" in name and _is_known(name)):
        spec = metric_spec(metric)
        sign = 1.0 if spec.higher_is_better else -1.0
        values = [object_scores(some, metric) for some in rows]
        if sum(bool(some) for some in values) < 2:
            continue
        signed = [{name: sign * value for name, value in some.items()} for some in values]
        gains = tuple(
            paired_difference([own], [signed[0]]) if pairs and index else None for index, own in enumerate(signed)
        )
        lines.append(
            ScoreLine(
                metric,
                spec.higher_is_better,
                spec.printed_factor,
                tuple(mean_estimate([some]) for some in values),
                gains,
            )
        )
    return tuple(lines)


def _is_known(metric: str) -> bool:
    """Whether this version knows the metric; a run of another version may have logged others."""
    protocol, _, name = metric.partition("/")
    return name in METRICS.get(protocol, {})


def _curves(runs: Sequence[TrackedRun], same_model: bool) -> dict[str, tuple[Points, ...]]:
    names = dict.fromkeys(
        name for run in runs for name in run.curves if not name.startswith("test/") and not name.endswith("_samples")
    )
    found = {}
    for name in sorted(names, key=_order_of):
        if not same_model and name.startswith(_OF_ONE_MODEL):
            continue
        curves = tuple(run.curves.get(name, ()) for run in runs)
        if sum(bool(points) for points in curves) > 1:
            found[name] = curves
    return found


def _order_of(name: str) -> tuple[int, str]:
    first = ("val/", "loss/total", "loss/")
    return next((place for place, start in enumerate(first) if name.startswith(start)), len(first)), name


def _differing_params(runs: Sequence[TrackedRun], same_model: bool) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for run in runs for name in run.params)
    shown = {name: tuple(run.params.get(name, "") for run in runs) for name in names}
    return {
        name: values
        for name, values in shown.items()
        if len(set(values)) > 1 and (same_model or not name.startswith("model."))
    }


def _notes(runs: Sequence[TrackedRun], split: str, same_model: bool, shares_objects: bool) -> list[str]:
    notes = []
    if not same_model:
        notes.append(
            f"Different models: {_listed(runs, [run.model or 'unknown' for run in runs])}. Their own parameters and"
            " losses are left out; meshes may be in different frames."
        )
    trained_on = [run.data.get("training", "") for run in runs]
    if _differ(trained_on):
        notes.append(
            f"Trained on different data: {_listed(runs, trained_on)}. Losses and validation curves come from different"
            " samples."
        )
    missing = [run.name for run in runs if split and split not in run.scores]
    if not split:
        notes.append("No split was evaluated for two runs: use raylift evaluate --run FOLDER --data DATA.")
    elif missing:
        notes.append(f"Not evaluated on {split}: {', '.join(missing)}.")
    measured = [run for run in runs if split in run.scores]
    if split and not shares_objects:
        measured_on = [run.data.get(split, "") for run in measured]
        notes.append(
            f"Measured on different data ({split}): {_listed(measured, measured_on)}. Means are shown side by side,"
            " but their differences do not show which model is better."
        )
    how = [_how(run, split) for run in measured]
    if len(set(how) - {""}) > 1:
        notes.append(
            f"Measured differently ({split}): {_listed(measured, how)}. Differences do not show which model is better;"
            " evaluate both with the same settings."
        )
    unfinished = [f"{run.name} is {run.status.lower()}" for run in runs if run.status != "FINISHED"]
    if unfinished:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    code = [run.tags.get("git.revision", "") for run in runs]
    if _differ(code):
        notes.append(f"Made by different code: {_listed(runs, [revision[:12] for revision in code])}.")
    return notes


def _differ(values: Sequence[str]) -> bool:
    return any(one != other for one, other in pairwise(values))


def _listed(runs: Sequence[TrackedRun], values: Sequence[str]) -> str:
    return ", ".join(f"{run.name}: {value or 'unknown'}" for run, value in zip(runs, values, strict=True))
