"""Train a recipe on a prepared data set.

    raylift train implicit/quick --data data/seats --storage runs --name seats
    raylift train implicit/quick --data s3://bucket/seats --storage s3://bucket/runs --name seats scale.workers=4
    raylift submit -- jobs/train.py implicit/paper --data s3://bucket/cars --storage s3://bucket/runs --name cars

Any recipe value can be set by its dotted path, such as model.weights.sdf=5; "raylift recipes show NAME" lists them.
--dry-run checks everything and prints the recipe and its cost. Rerun the same command to resume a run.

A name for several stages, such as mesh_texture/umr-quick, trains them in order, each from the one before. Overrides
apply to all stages, or with a stage's name and a colon (stage2:seed=1) to that stage only:

    raylift train mesh_texture/umr-quick --data data/birds --storage runs --name birds
    raylift train mesh_texture/umr-quick.stage2 --data data/birds --name again start_from=runs/birds.stage1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from raylift.config.explain import explain
from raylift.config.recipe import Recipe
from raylift.console import ProgressBar, progress_bar
from raylift.core.redaction import redacted
from raylift.models.stages import plan_runs
from raylift.runs.dry_run import RunEstimate, estimate_run
from raylift.runs.train import TrainOutcome, train
from raylift.tracking.address import tracking_for
from raylift.training.loop import RunProgress


@dataclass(frozen=True)
class Arguments:
    """Train a recipe; rerun the same command to resume.

    Attributes:
        recipe: name in the catalogue (implicit/quick, implicit/paper, ...) or a recipe's JSON file.
        data: prepared data set: a folder or s3://.
        storage: folder of runs: local (shared by all nodes) or s3://.
        name: run name; by default the recipe's name with "/" replaced by "-".
        tracking: MLflow tracking URI; by default mlflow.db in --storage (current folder for s3://); "none" disables
            tracking.
        experiment: MLflow experiment; by default the model's name.
        dry_run: check everything, print the recipe, its steps and its samples, and start nothing.
        overrides: recipe values, as path=value.
    """

    recipe: Annotated[str, tyro.conf.Positional]
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    storage: str = "runs"
    name: str = ""
    tracking: str = ""
    experiment: str = ""
    dry_run: bool = False


def main(arguments: Arguments, console: Console) -> None:
    """Train, with the latest metrics next to the bar and a line per evaluation."""
    planned = plan_runs(arguments.recipe, arguments.overrides, arguments.storage, arguments.name)
    for number, (name, recipe) in enumerate(planned):
        if arguments.dry_run:
            earlier = [one for one, _ in planned[:number]]
            rehearse(recipe, name, estimate_run(recipe, arguments.data, arguments.storage, name, earlier), console)
        else:
            train_one(arguments, recipe, name, console)
    if arguments.dry_run:
        console.print("nothing was started; not checked: free CPUs and GPUs, and the MLflow server", highlight=False)


def rehearse(recipe: Recipe, name: str, cost: RunEstimate, console: Console) -> None:
    """Print the resolved recipe, a value per line as an override, and what the run would cost."""

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    for one in explain(recipe):
        say(f"{one.path}={one.value}")
    done = f", {cost.done_steps} of them done" if cost.done_steps else ""
    say(f"run {name}: {recipe.name} ({recipe.fingerprint}), {cost.num_parameters:,} parameters")
    say(f"  {cost.num_steps:,} steps{done}: {cost.num_epochs:.3g} epochs of {cost.num_objects:,} objects")
    say(f"  {cost.num_samples:,} samples to train on, {cost.batch_size} per step, with {recipe.scale.workers} workers")
    say(f"  {cost.num_evaluations} evaluations of {cost.num_validated} validation samples")


def train_one(arguments: Arguments, recipe: Recipe, name: str, console: Console) -> None:
    """Train one recipe."""
    tracking = tracking_for(arguments.tracking, arguments.storage)
    console.print(
        f"[bold]{recipe.name}[/] ({recipe.fingerprint}) on {arguments.data}, run [bold]{name}[/] in"
        f" {arguments.storage}, {recipe.scale.workers} workers"
    )
    with progress_bar(console, "steps") as bar:
        outcome = train(
            recipe,
            arguments.data,
            arguments.storage,
            name,
            tracking,
            experiment=arguments.experiment,
            progress=show(bar),
            say=bar.say,
        )
    summarise(console, outcome)


def show(bar: ProgressBar) -> Callable[[RunProgress], None]:
    """A callback that shows reports on a bar."""
    seen: dict[str, float] = {}

    def update(report: RunProgress) -> None:
        seen.update(report.metrics)
        names = ("loss/total", "val/iou", "val/mask_iou", "val/joint_pi6", "throughput/samples_per_s")
        news = "  ".join(f"{name.split('/')[-1]} {seen[name]:.4g}" for name in names if name in seen)
        bar.show(report.step, report.num_steps, news)
        scores = {name: value for name, value in report.metrics.items() if name.startswith("val/")}
        if scores:
            listed = "  ".join(f"{name} {value:.4f}" for name, value in scores.items())
            bar.say(f"step {report.step}: {listed}")

    return update


def summarise(console: Console, outcome: TrainOutcome) -> None:
    """Print the results and their paths."""
    table = Table(title=f"run {outcome.place.name}", show_header=False)
    fit = outcome.fit
    resumed = f" (resumed from {fit.resumed_from})" if fit.resumed_from is not None else ""
    restarts = f", {outcome.num_restarts} restarts" if outcome.num_restarts else ""
    table.add_row("steps", f"{fit.step}{resumed}")
    table.add_row("time", f"{outcome.seconds / 60:.1f} min with {outcome.num_workers} workers{restarts}")
    for name, value in sorted(fit.metrics.items()):
        if name.startswith(("val/", "loss/", "throughput/")):
            table.add_row(name, f"{value:.4g}")
    for name, value in sorted(fit.best_metrics.items()):
        if name.startswith("val/"):
            table.add_row(f"best {name}", f"{value:.4g}")
    console.print(table)
    for doubt in fit.doubts:
        console.print(f"[yellow]doubt:[/] {doubt}", soft_wrap=True, highlight=False)
    # Below the table, where a long path is neither cut nor wrapped and can be copied.
    console.print(f"best checkpoint: {fit.best or 'none: nothing was evaluated'}", soft_wrap=True, highlight=False)
    console.print(f"last checkpoint: {fit.last or 'none'}", soft_wrap=True, highlight=False)
    console.print(f"tracking: {redacted(outcome.place.tracking) or 'none'}", soft_wrap=True, highlight=False)
