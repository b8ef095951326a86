"""Compare runs side by side: one HTML page with the differences of their recipes, curves, scores with confidence
intervals, and meshes of the same objects.

    raylift compare runs/seats runs/more-points
    raylift compare seats more-points 4f0c... --tracking http://mlflow:5000 --out compare.html

A run is given by its folder, MLflow name or id; the others are compared with the first. The page is self-contained and
is logged to each run under comparisons/.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from raylift.evaluation.comparison.paired import ONE_SEED
from raylift.evaluation.comparison.runs import RunComparison, compare_runs
from raylift.evaluation.report import MAIN_METRIC
from raylift.export.comparison import write_comparison
from raylift.runs.comparison_page import comparison_page, gain_text, held_out_rows
from raylift.tracking.address import tracking_of
from raylift.tracking.reading import TrackingReader


@dataclass(frozen=True)
class Arguments:
    """Compare runs side by side on one HTML page.

    Attributes:
        runs: two or more folders, MLflow names or ids of runs; the others are compared with the first.
        out: HTML file to write.
        tracking: MLflow tracking URI; by default MLFLOW_TRACKING_URI, else the first run's own, else runs/mlflow.db.
        objects: maximum number of objects whose meshes are shown.
        log: whether to log the page to each run.
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    out: Path = Path("compare.html")
    tracking: str = ""
    objects: int = 8
    log: bool = True


def main(arguments: Arguments, console: Console) -> None:
    """Read, compare, write, log."""
    reader = TrackingReader(tracking_of(arguments.tracking, arguments.runs))
    runs = [reader.read(reader.find(what)) for what in arguments.runs]
    comparison = compare_runs(runs)
    for note in comparison.notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True, highlight=False)
    with tempfile.TemporaryDirectory() as work:
        rows = held_out_rows(reader, comparison, Path(work), arguments.objects)
        page = write_comparison(comparison_page(comparison, rows), arguments.out)
    summarise(comparison, console)
    if arguments.log:
        for run in runs:
            reader.add_file(run.run_id, page, "comparisons")
    console.print(f"open in a browser: {page.resolve().as_uri()}", soft_wrap=True)


def summarise(comparison: RunComparison, console: Console) -> None:
    """Print each protocol's main metric against the first run; the page has all metrics."""
    first = comparison.runs[0].name
    main_metrics = {f"{protocol}/{metric}" for protocol, metric in MAIN_METRIC.items()}
    for index, run in enumerate(comparison.runs[1:], 1):
        for line in comparison.scores:
            gain = line.gains[index]
            if gain is not None and line.metric in main_metrics:
                gained = gain_text(gain, line.factor)
                text = f"{run.name} against {first}, {line.metric}: better by {gained}, undecided ({ONE_SEED})"
                console.print(text, soft_wrap=True, highlight=False)
