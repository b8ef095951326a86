"""Terminal tables of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from rich.table import Table

from raylift.evaluation.report import EvaluationReport, metric_spec
from raylift.metrics.scores import Summary


def score_tables(report: EvaluationReport, chosen: Collection[str] | None = None) -> list[Table]:
    """Mean / median by protocol: a row per method, the model first, so that any number of baselines fits a terminal.

    Figures are multiplied by the papers' factors, which the column headers show.

    Args:
        chosen: protocols to show; by default all.
    """
    summaries = {method: report.summaries(method) for method in report.tables}
    metrics = list(dict.fromkeys(metric for found in summaries.values() for metric in found))
    protocols = list(dict.fromkeys(metric.partition("/")[0] for metric in metrics))
    shown = [protocol for protocol in protocols if chosen is None or protocol in chosen]
    return [_protocol_table(report, protocol, metrics, summaries) for protocol in shown]


def _protocol_table(
    report: EvaluationReport, protocol: str, metrics: list[str], summaries: Mapping[str, Mapping[str, Summary]]
) -> Table:
    title = f"{protocol} on {report.split}: mean / median of {len(report.model)} samples"
    table = Table(title=title, title_justify="left")
    table.add_column("method")
    # Precision and recall only serve the F-score; the JSON has them.
    shown = [
        metric
        for metric in metrics
        if metric.startswith(f"{protocol}/") and not metric.partition("/")[2].startswith(("precision", "recall"))
    ]
    for metric in shown:
        spec = metric_spec(metric)
        factor = f" x{spec.printed_factor:g}" if spec.printed_factor != 1 else ""
        arrow = "\N{UPWARDS ARROW}" if spec.higher_is_better else "\N{DOWNWARDS ARROW}"
        table.add_column(f"{metric.partition('/')[2].replace('_', ' ')}{factor} {arrow}", justify="right")
    for method, found in summaries.items():
        if any(metric in found for metric in shown):
            cells = [_cell(found.get(metric), metric_spec(metric).printed_factor) for metric in shown]
            table.add_row(method.replace("_", " "), *cells)
    return table


def category_table(report: EvaluationReport, metric: str = "") -> Table:
    """A metric, by default the main one, by category: a row per method, the model first."""
    metric = metric or report.main_metric
    table = Table(title=f"{metric} by category: mean / median", title_justify="left")
    table.add_column("method")
    for category in report.model.categories:
        count = report.model.summary(metric, category).count
        table.add_column(f"{category} ({count})", justify="right")
    for method, scores in report.tables.items():
        if metric in scores.metrics:
            found = [scores.summary(metric, category) for category in report.model.categories]
            table.add_row(method.replace("_", " "), *(_cell(summary, 1.0) for summary in found))
    return table


def worst_table(report: EvaluationReport, count: int = 5) -> Table:
    """The model's worst samples."""
    table = Table(title=f"worst by {report.main_metric}", title_justify="left")
    table.add_column("sample")
    table.add_column("category")
    table.add_column(report.main_metric, justify="right")
    for row in report.worst_rows(count):
        table.add_row(row["id"], row["category"], _number(row[report.main_metric]))
    return table


def _cell(summary: Summary | None, factor: float) -> str:
    if summary is None or not summary.count:
        return "-"
    mean = _number(summary.mean * factor)
    return mean if math.isnan(summary.median) else f"{mean} / {_number(summary.median * factor)}"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
