"""Terminal tables of a recognition: the main scores with intervals, next to the best baseline, and by category."""

from __future__ import annotations

from rich.table import Table

from raylift.data.scenes.levels import LEVELS
from raylift.evaluation.comparison.paired import Estimate, mean_estimate, object_scores, paired_difference
from raylift.evaluation.images.recognition_metrics import BETWEEN, TOLD
from raylift.evaluation.report import MODEL_METHOD, WHOLE, EvaluationReport, metric_spec
from raylift.evaluation.tables import category_table, score_tables, worst_table

MAIN_SCORES = (
    "class/class_accuracy",
    "viewpoint/pose_pi6",
    "viewpoint/pose_pi18",
    "viewpoint/symmetric_pi6",
    "viewpoint/symmetric_pi18",
    "outline/amodal_iou",
    "outline/hidden_iou",
)
PROTOCOLS = ("viewpoint", "class", "outline", "told")
"""Protocols with a table of their own."""
BY_LEVEL = ("class_accuracy", *(name.partition("/")[2] for name in MAIN_SCORES[1:]))
BY_CATEGORY = ("class/class_accuracy", "viewpoint/symmetric_pi6", "outline/amodal_iou")


def recognition_tables(report: EvaluationReport) -> list[Table]:
    """Every table of a recogniser's evaluation; empty for another one."""
    if BY_CATEGORY[0] not in report.model.metrics:
        return []
    by_category = [category_table(report, metric) for metric in BY_CATEGORY if metric in report.model.metrics]
    by_level = [level_table(report, name) for name in BY_LEVEL if f"L0/{name}" in _known(report)]
    times = [stage_table(report)] if report.stages else []
    main = [worst_table(report), interval_table(report)]
    return [*score_tables(report, PROTOCOLS), *by_level, *by_category, *main, *times]


def stage_table(report: EvaluationReport) -> Table:
    """CPU seconds per image of each stage of the model, and their share of all of it."""
    table = Table(title=f"CPU seconds per image, mean over {len(report.model)} images", title_justify="left")
    for name in ("stage", "seconds", "%"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    whole = report.stages[WHOLE]
    for stage in (*(stage for stage in report.stages if stage != WHOLE), WHOLE):
        seconds = report.stages[stage]
        table.add_row(stage, f"{seconds:.3f}", f"{100 * seconds / whole:.0f}" if whole else "-")
    return table


def level_table(report: EvaluationReport, name: str) -> Table:
    """Means of one metric over all images and by level, and the mean of the classes' means: a row per method.

    A second row has the scores with the class told, where there are some.
    """
    whole = next(f"{protocol}/{name}" for protocol in PROTOCOLS if f"{protocol}/{name}" in _known(report))
    factor = metric_spec(whole).printed_factor
    levels = [level for level in (*LEVELS, BETWEEN) if f"{level}/{name}" in _known(report)]
    title = f"{name.replace('_', ' ')}{f' x{factor:g}' if factor != 1 else ''} by level of occlusion"
    table = Table(title=title, title_justify="left")
    for column in ("method", "all", "class mean"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for level in levels:
        table.add_column(f"{level} ({report.model.summary(f'{level}/{name}').count})", justify="right")
    for method in report.tables:
        found = report.summaries(method)
        named = [whole, f"class_mean/{name}", *(f"{level}/{name}" for level in levels)]
        told = [f"told/{name}", "", *(f"{TOLD}{level}/{name}" for level in levels)]
        for label, metrics in ((method.replace("_", " "), named), (f"{method.replace('_', ' ')}, class told", told)):
            means = [found[metric].mean if metric in found else None for metric in metrics]
            if means[0] is not None:
                table.add_row(label, *("-" if mean is None else _number(mean, factor) for mean in means))
    return table


def _known(report: EvaluationReport) -> set[str]:
    """Names of all metrics of the model."""
    return set(report.model.metrics)


def interval_table(report: EvaluationReport) -> Table:
    """The main scores with 95 % bootstrap intervals over objects, and how much better than the best baseline.

    Means are over objects, each with equal weight; the other tables weigh images equally.
    """
    count = len(object_scores(report.object_rows(), report.model.metrics[0]))
    table = Table(title=f"main scores on {report.split}, means over {count} objects", title_justify="left")
    for name in ("metric", "model", "95 % interval", "best baseline", "", "better by", "95 % interval"):
        table.add_column(name, justify="left" if name in ("metric", "best baseline") else "right")
    rows = report.object_rows()
    for metric in MAIN_SCORES:
        ours = object_scores(rows, metric)
        mean = mean_estimate([ours])
        if mean is None:
            continue
        name, theirs = _best_baseline(report, metric)
        gain = paired_difference([ours], [theirs]) if theirs else None
        factor = metric_spec(metric).printed_factor
        cells = [f"{metric} x{factor:g}" if factor != 1 else metric, *_texts(mean, factor), name.replace("_", " ")]
        baseline = mean_estimate([theirs])
        cells.append("" if baseline is None else _number(baseline.mean, factor))
        table.add_row(*cells, *(("", "") if gain is None else _texts(gain, factor)))
    return table


def _best_baseline(report: EvaluationReport, metric: str) -> tuple[str, dict[str, float]]:
    rows = report.object_rows()
    found = {name: object_scores(rows, metric, name) for name in report.tables if name != MODEL_METHOD}
    means = {name: estimate.mean for name, scores in found.items() if (estimate := mean_estimate([scores])) is not None}
    if not means:
        return "", {}
    best = max(means, key=lambda name: means[name])
    return best, found[best]


def _texts(estimate: Estimate, factor: float) -> tuple[str, str]:
    bounds = f"[{_number(estimate.low, factor)}, {_number(estimate.high, factor)}]"
    return _number(estimate.mean, factor), bounds


def _number(value: float, factor: float) -> str:
    return f"{factor * value:.3f}" if factor == 1 else f"{factor * value:.1f}"
