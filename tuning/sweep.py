"""Search good values of a recipe for your data, with trials in parallel on whatever cluster there is.

    python tuning/sweep.py tuning/sweeps/implicit_fourier.json --data data/seats --storage runs --name fourier
    python tuning/sweep.py tuning/sweeps/implicit_weights.json --data data/seats sweep:budget.trials=8 model.hidden=64
    ray job submit --working-dir . --runtime-env-json '{"env_vars": {"PYTHONPATH": "platform"}}' -- \\
        python tuning/sweep.py tuning/sweeps/implicit_fourier.json --data s3://bucket/cars --storage s3://bucket/runs

Overrides are values of the recipe that every trial shares (path=value), or the sweep's own (sweep:path=value). The same
command again goes on where the sweep stopped; a larger sweep:budget.trials extends it. The best recipe lies in the
sweep's folder as best.json, for jobs/train.py:

    python jobs/train.py runs/fourier/best.json --data data/seats --storage runs --name best
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from raylift.console import ProgressBar, progress_bar, run_job
from raylift.runs.sweep import SweepEvent, SweepOutcome, run_sweep
from raylift.sweeps.config import Metric, Sweep, read_sweep
from raylift.sweeps.results import ranked
from raylift.sweeps.trial_recipes import base_recipe, shown
from raylift.tracking.address import tracking_for

SHOWN_TRIALS = 30


@dataclass(frozen=True)
class Arguments:
    """Run a sweep; the same command goes on where it stopped.

    Attributes:
        sweep: JSON file; ready ones lie in tuning/sweeps.
        data: prepared data set: a folder or s3://.
        storage: folder of sweeps and runs: local (shared by all nodes) or s3://.
        name: of the sweep: its folder in the storage and its MLflow run; by default the file's.
        tracking: MLflow server or store; by default a SQLite file in the storage (or here, for s3://); "none" for none.
        experiment: of MLflow; by default the model.
        retry_failed: let trials that failed go on from their last checkpoints.
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
    """Run the sweep, a line for each trial that ends; then the table, and where everything lies."""
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
        )
    summarise(console, sweep, outcome)
    if tracking:
        console.print(f"tracking: {tracking}, run {name}", soft_wrap=True, highlight=False)
    return 0 if outcome.best is not None else 1


def show(bar: ProgressBar, sweep: Sweep) -> Callable[[SweepEvent], None]:
    """Events onto a bar."""

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
    """The trials, best first, and where the results lie."""
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
        console.print(f"{len(failed)} trials failed; --retry-failed lets them go on", highlight=False)
    if left > 0:
        console.print(f"{left} trials are not finished: the same command goes on", highlight=False)
    if outcome.unsent:
        console.print("MLflow is away: what it has not got is kept, and the same command sends it", highlight=False)
    for path in (*outcome.files, outcome.best_recipe):
        if path:
            console.print(path, soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sys.exit(run_job(Arguments, main, __doc__))
