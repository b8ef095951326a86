"""What can be said of runs side by side, and what cannot because they differ in model, data or measure."""

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
from raylift.evaluation.report import METRICS, MODEL_METHOD, reading
from raylift.tracking.reading import Points, TrackedRun

_OF_ONE_MODEL = ("loss/", "gradient_norm/", "learning_rate/")
"""Metrics that say something of one model only, though their names are alike."""
_NEVER_ALIKE = ("throughput/", "system/", "epoch", "val/thickness", "alarm/")
"""Metrics that alone are no reason to compare."""


@dataclass(frozen=True)
class ScoreLine:
    """One metric over the runs.

    Attributes:
        metric: with its protocol.
        higher_is_better: its direction.
        factor: papers print the value times this.
        means: of each run, with its interval over objects; None where it was not measured.
        gains: each run's improvement over the first, paired over objects; None where that has no meaning. Each run is
            one training, so no gain decides which recipe is better (``paired.ONE_SEED``).
    """

    metric: str
    higher_is_better: bool
    factor: float
    means: tuple[Estimate | None, ...]
    gains: tuple[Estimate | None, ...]


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side, all against the first.

    Attributes:
        notes: what a reader must know before comparing.
        params: recipe values that differ, by dotted path, for each run; "" where a run has none.
        curves: metrics over the steps for each run; empty where a run has none.
        split: that scores are of; "" where no common one was evaluated.
        scores: one line a metric.
        shares_objects: whether the runs that were measured were so on the same objects.
    """

    runs: tuple[TrackedRun, ...]
    notes: tuple[str, ...]
    params: Mapping[str, tuple[str, ...]]
    curves: Mapping[str, tuple[Points, ...]]
    split: str
    scores: tuple[ScoreLine, ...]
    shares_objects: bool


def compare_runs(runs: Sequence[TrackedRun]) -> RunComparison:
    """Set runs side by side.

    Raises:
        ConfigError: fewer than two runs, one twice, or nothing of them can be compared.
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
            f"nothing of these runs can be compared: {_listed(runs, [run.model or 'unknown' for run in runs])} are"
            " different models, and no metric was measured of both",
            "evaluate them on the same data by jobs/evaluate.py, or compare runs of one model",
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
    """The split that most runs (two at least) were evaluated on; "test" before others."""
    counts = {split: sum(split in run.scores for run in runs) for split in ("test", "val", "train")}
    best = max(counts, key=lambda split: counts[split])
    return best if counts[best] > 1 else ""


def _how(run: TrackedRun, split: str) -> str:
    """Of what resolution and of how many views its scores are; "" for a run of a version that did not say."""
    return run.tags.get(f"evaluation.{split}.how", "")


def _score_lines(runs: Sequence[TrackedRun], split: str, pairs: bool) -> tuple[ScoreLine, ...]:
    rows = [run.scores.get(split, ()) for run in runs]
    names = list(dict.fromkeys(name for some in rows for row in some if row["method"] == MODEL_METHOD for name in row))
    lines = []
    for metric in (name for name in names if "/" in name and _is_known(name)):
        how = reading(metric)
        sign = 1.0 if how.higher_is_better else -1.0
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
                how.higher_is_better,
                how.printed_factor,
                tuple(mean_estimate([some]) for some in values),
                gains,
            )
        )
    return tuple(lines)


def _is_known(metric: str) -> bool:
    """A run of another version may have logged what this one does not know how to read."""
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
            " losses are left out; meshes may stand in different frames."
        )
    trained_on = [run.data.get("training", "") for run in runs]
    if _differ(trained_on):
        notes.append(
            f"Trained on different data: {_listed(runs, trained_on)}. Losses and validation curves are not of the same"
            " samples."
        )
    missing = [run.name for run in runs if split and split not in run.scores]
    if not split:
        notes.append("No split was evaluated of two runs: python jobs/evaluate.py --run FOLDER --data DATA does it.")
    elif missing:
        notes.append(f"Not evaluated on {split}: {', '.join(missing)}.")
    measured = [run for run in runs if split in run.scores]
    if split and not shares_objects:
        measured_on = [run.data.get(split, "") for run in measured]
        notes.append(
            f"Measured on different data ({split}): {_listed(measured, measured_on)}. Means stand side by side, but no"
            " difference between them says which model is better."
        )
    how = [_how(run, split) for run in measured]
    if len(set(how) - {""}) > 1:
        notes.append(
            f"Measured differently ({split}): {_listed(measured, how)}. No difference between them says which model is"
            " better; evaluate both with the same settings."
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
