"""Search for good recipe values on your data, with parallel trials on a laptop or a cluster.

    raylift sweep implicit_fourier --data data/seats --storage runs --name fourier
    raylift sweep implicit_weights --data data/seats sweep:budget.trials=8 model.hidden=64
    raylift submit -- tuning/sweep.py tuning/sweeps/implicit_fourier.json --data s3://bucket/cars \\
        --storage s3://bucket/runs

Overrides are values of the recipe that every trial shares (path=value), or the sweep's own (sweep:path=value). Rerun
the same command to resume a sweep; a larger sweep:budget.trials extends it. The best recipe is best.json in the
sweep's folder, for raylift train:

    raylift train runs/fourier/best.json --data data/seats --storage runs --name best
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from raylift.console import ProgressBar, progress_bar
from raylift.core.redaction import redacted
from raylift.runs.sweep import SweepEvent, SweepOutcome, run_sweep
from raylift.sweeps.config import Metric, Sweep, read_sweep
from raylift.sweeps.results import ranked
from raylift.sweeps.trial_recipes import base_recipe, shown
from raylift.tracking.address import tracking_for

SHOWN_TRIALS = 30


@dataclass(frozen=True)
class Arguments:
    """Run a sweep; rerun the same command to resume.

    Attributes:
        sweep: name of a ready sweep (see raylift recipes), or a sweep's JSON file.
        data: prepared data set: a folder or s3://.
        storage: folder of sweeps and runs: local (shared by all nodes) or s3://.
        name: sweep name, for its folder in --storage and its MLflow run; by default the file's name with "-" for "_".
        tracking: MLflow tracking URI; by default mlflow.db in --storage (current folder for s3://); "none" disables
            tracking.
        experiment: MLflow experiment; by default the model's name.
        retry_failed: whether failed trials resume from their last checkpoints.
        overrides: recipe values for every trial, as path=value; values of the sweep, as sweep:path=value.
    """

    sweep: Annotated[Path, tyro.conf.Positional]
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    storage: str = "runs"
    name: str = ""
    tracking: str = ""
    experiment: str = ""
    retry_failed: bool = False


def main(arguments: Arguments, console: Console) -> int:
    """Run the sweep with a line per finished trial; then print the table and the paths of the results."""
    sweep = read_sweep(arguments.sweep, arguments.overrides)
    name = arguments.name or arguments.sweep.stem.replace("_", "-")
    tracking = tracking_for(arguments.tracking, arguments.storage)
    console.print(
        f"[bold]{sweep.title}[/] ({sweep.fingerprint}): {base_recipe(sweep).name} on {arguments.data}, sweep"
        f" [bold]{name}[/] in {arguments.storage}"
    )
    with progress_bar(console, "trials") as bar:
        outcome = run_sweep(
            sweep,
            arguments.data,
            arguments.storage,
            name,
            tracking,
            experiment=arguments.experiment,
            retry_failed=arguments.retry_failed,
            progress=show(bar, sweep),
            say=bar.say,
        )
    summarise(console, sweep, outcome)
    if tracking:
        console.print(f"tracking: {redacted(tracking)}, run {name}", soft_wrap=True, highlight=False)
    return 0 if outcome.best is not None else 1


def show(bar: ProgressBar, sweep: Sweep) -> Callable[[SweepEvent], None]:
    """A callback that shows events on a bar."""

    def update(event: SweepEvent) -> None:
        trial = event.trial
        news = f"{trial.name} step {trial.step}: {scores_of(trial.scores(sweep.metrics), sweep.metrics)}"
        bar.show(event.num_ended, event.num_trials, news)
        if event.kind == "end":
            reason = f" ({trial.end.reason.splitlines()[0]})" if trial.end.reason else ""
            bar.say(f"{news}, {trial.end.status}{reason}; {shown(trial.generation.values)}")

    return update


def scores_of(scores: tuple[float, ...] | None, metrics: tuple[Metric, ...]) -> str:
    """Names and values, in words."""
    if scores is None:
        return "no score"
    return "  ".join(f"{metric.name} {value:.4f}" for metric, value in zip(metrics, scores, strict=True))


def summarise(console: Console, sweep: Sweep, outcome: SweepOutcome) -> None:
    """Print the trials, best first, and the paths of the results."""
    table = Table(title=f"{sweep.title}: best first", caption=f"{outcome.seconds / 60:.1f} min for this command")
    for heading in ("trial", *(metric.name for metric in sweep.metrics), "steps", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("values", overflow="fold", min_width=32)
    for trial in ranked(outcome.trials, sweep.metrics)[:SHOWN_TRIALS]:
        scores = trial.scores(sweep.metrics)
        cells = [f"{value:.4f}" for value in scores] if scores else [""] * len(sweep.metrics)
        style = "bold" if trial == outcome.best else "dim" if trial.end.status == "failed" else None
        row = (trial.name, *cells, str(trial.step), trial.end.status, shown(trial.generation.values))
        table.add_row(*row, style=style)
    console.print(table)
    failed = [trial for trial in outcome.trials if trial.end.status == "failed"]
    left = outcome.num_trials - sum(trial.end.status != "unfinished" for trial in outcome.trials)
    for trial in failed:
        reason = trial.end.reason.splitlines()[0] if trial.end.reason else "for an unknown reason"
        console.print(f"{trial.name} failed: {reason}", style="red", soft_wrap=True, markup=False, highlight=False)
    if failed:
        console.print(f"{len(failed)} trials failed; --retry-failed resumes them", highlight=False)
    if left > 0:
        console.print(f"{left} trials are not finished: rerun the same command to resume", highlight=False)
    if outcome.unsent:
        console.print("MLflow is unreachable: unsent records are kept; the same command sends them", highlight=False)
    for path in (*outcome.files, outcome.best_recipe):
        if path:
            console.print(path, soft_wrap=True, highlight=False)
