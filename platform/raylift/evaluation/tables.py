"""An evaluation as tables for a terminal."""

from __future__ import annotations

import math

from rich.table import Table

from raylift.evaluation.report import EvaluationReport, reading


def score_table(report: EvaluationReport) -> Table:
    """Mean / median of every metric, the model beside its baselines, with papers' factors (named)."""
    table = Table(title=f"{report.split}: mean / median of {len(report.model)} samples", title_justify="left")
    table.add_column("protocol")
    table.add_column("metric")
    for method in report.tables:
        table.add_column(method.replace("_", " "), justify="right")
    summaries = {method: report.summaries(method) for method in report.tables}
    previous = ""
    for metric in summaries[next(iter(summaries))]:
        protocol, _, name = metric.partition("/")
        if name.startswith(("precision", "recall")):
            continue  # they are there for the F-score; the JSON has them
        if previous and protocol != previous:
            table.add_section()
        how = reading(metric)
        factor = f" x{how.printed_factor:g}" if how.printed_factor != 1 else ""
        cells = []
        for found in summaries.values():
            summary = found.get(metric)
            if summary is None:
                cells.append("-")
                continue
            mean = _number(summary.mean * how.printed_factor)
            cells.append(
                mean if math.isnan(summary.median) else f"{mean} / {_number(summary.median * how.printed_factor)}"
            )
        arrow = "\N{UPWARDS ARROW}" if how.higher_is_better else "\N{DOWNWARDS ARROW}"
        table.add_row("" if protocol == previous else protocol, f"{name}{factor} {arrow}", *cells)
        previous = protocol
    return table


def category_table(report: EvaluationReport) -> Table:
    """The main metric by category, the model beside its baselines."""
    metric = report.main_metric
    table = Table(title=f"{metric} by category: mean / median", title_justify="left")
    table.add_column("category")
    table.add_column("samples", justify="right")
    for method in report.tables:
        table.add_column(method.replace("_", " "), justify="right")
    for category in report.model.categories:
        found = [scores.summary(metric, category) for scores in report.tables.values()]
        cells = [f"{_number(summary.mean)} / {_number(summary.median)}" for summary in found]
        table.add_row(category, str(found[0].count), *cells)
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


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
