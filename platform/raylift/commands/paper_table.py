"""Train and evaluate every row of a paper's table, show our figures next to the paper's, and judge its claims.

    raylift table implicit_1 --data data/seats --storage runs/tables
    raylift table implicit_1 --data data/seats --rows ours "2D only" --seeds 0
    raylift table implicit_reads --data data/seats --points schedule.num_steps=300
    raylift table implicit_1 --data s3://bucket/cars --size paper scale.workers=4

Every row and seed is its own run; rerunning the command does only what is missing, and prints the table again.
Overrides are recipe values for every row. In MLflow the table is a run whose children are the rows'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from raylift.config.ready_files import find_file
from raylift.console import EXIT_FAILED, ProgressBar, print_table, progress_bar
from raylift.core.errors import ConfigError, RayliftError
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.comparison.curves import Curve
from raylift.export.comparison import write_comparison
from raylift.runs.table_page import claims_table, scores_table, table_page
from raylift.runs.table_runs import TableRuns, Watch, gather, open_table_run, read_curves
from raylift.tables.paper_table import READY, PaperTable, PlannedRow, by_points, load_table, plan_table
from raylift.tables.results import ClaimResult, RowResult, evaluate_claims, rows_of, score_rows
from raylift.tracking.address import tracking_for
from raylift.tracking.mlflow_tracker import MlflowTracker


@dataclass(frozen=True)
class Arguments:
    """Train and evaluate every row of a paper's table; rerun the same command to resume.

    Attributes:
        table: name of a ready table (see raylift recipes), or a table's JSON file.
        data: prepared data set: a folder or s3://.
        storage: folder of runs: local (shared by all nodes) or s3://.
        rows: names of the rows to run; by default all.
        seeds: seeds that replace the table's.
        size: recipe size that replaces "quick" in recipe names: "paper" uses the published recipes.
        points: whether to judge shapes by the IoU of fields at stored points, without surfaces: seconds per run instead
            of minutes.
        tracking: MLflow tracking URI; by default mlflow.db in --storage (current folder for s3://); "none" disables
            tracking.
        overrides: recipe values for every row, as path=value.
    """

    table: Annotated[Path, tyro.conf.Positional]
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    storage: str = "runs/tables"
    rows: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    size: str = "quick"
    points: bool = False
    tracking: str = ""

    @property
    def place(self) -> str:
        """The storage, absolute."""
        return self.storage.rstrip("/") if "://" in self.storage else str(Path(self.storage).absolute())

    @property
    def tracking_uri(self) -> str:
        return tracking_for(self.tracking, self.place)


def main(arguments: Arguments, console: Console) -> int:
    """Run every row, then print the table; the exit status is EXIT_FAILED if a row failed."""
    table, planned = read(arguments)
    dataset = ShardedDataset.open(arguments.data)
    experiment = one_model(planned)
    runs = TableRuns(table, dataset, arguments.place, arguments.tracking_uri, experiment)
    planned = possible(runs, planned, arguments, console)
    tracker = None
    if arguments.tracking_uri:
        name = arguments.table.stem
        tracker = open_table_run(table, dataset, arguments.place, name, arguments.tracking_uri, experiment)
        runs.parent_run_id = tracker.wait_for_run_id() or ""
    try:
        outcomes, problems = run_all(runs, planned, console)
    except BaseException:
        if tracker is not None:
            tracker.finish("KILLED")  # the same command resumes the same MLflow run
        raise
    curves = curves_of(arguments, table, [one for one in planned if one.name in outcomes], console)
    results = gather(planned, outcomes, problems, curves)
    claims = evaluate_claims(table, results)
    print_table(console, scores_table(table, results))
    if claims:
        print_table(console, claims_table(claims))
    page = keep(arguments, table, results, claims, tracker, failed=bool(problems))
    console.print(f"open in a browser: {page.as_uri()}", soft_wrap=True)
    for name, problem in problems.items():
        console.print(f"{name} did not finish: {problem}", style="red", soft_wrap=True, markup=False)
    return EXIT_FAILED if problems else 0


def read(arguments: Arguments) -> tuple[PaperTable, list[PlannedRow]]:
    """The table and its runs; every recipe is checked before the first one trains."""
    table = resized(load_table(arguments.table), arguments.size)
    table = by_points(table) if arguments.points else table
    unknown = set(arguments.rows) - set(table.row_names)
    if unknown:
        known = ", ".join(repr(name) for name in table.row_names)
        raise ConfigError(f"{arguments.table} has no row {sorted(unknown)[0]!r}", f"its rows are {known}")
    planned = plan_table(table, arguments.table.stem, arguments.place, arguments.overrides, arguments.seeds)
    return table, [one for one in planned if not arguments.rows or one.row.name in arguments.rows]


def resized(table: PaperTable, size: str) -> PaperTable:
    """The table with recipes of another size."""

    def named(recipe: str) -> str:
        chain, dot, stage = recipe.partition(".stage")
        if chain.endswith(f"{size}-quick"):  # implicit/paper-quick is implicit/paper made small
            chain = chain.removesuffix("-quick")
        elif chain.endswith("quick"):
            chain = f"{chain.removesuffix('quick')}{size}"
        return f"{chain}{dot}{stage}"

    rows = tuple(replace(row, recipe=named(row.recipe)) for row in table.rows)
    return replace(table, recipe=named(table.recipe), rows=rows)


def one_model(planned: list[PlannedRow]) -> str:
    """MLflow experiment: the model's name, or "tables" for a table with several models."""
    models = {recipe.model_name for one in planned for _, recipe in one.runs}
    return models.pop() if len(models) == 1 else "tables"


def possible(runs: TableRuns, planned: list[PlannedRow], arguments: Arguments, console: Console) -> list[PlannedRow]:
    """Refuse requested rows that are impossible; skip other impossible rows with a message."""
    first_seeds = {one.row.name: one for one in reversed(planned)}
    problems = {name: runs.problem_of(one) for name, one in first_seeds.items()}
    ruled_out = {name: problem for name, problem in problems.items() if problem}
    for name, problem in ruled_out.items():
        if name in arguments.rows or len(ruled_out) == len(problems):
            raise ConfigError(f"row {name!r}: {problem}", "use other --rows, or another data set")
        console.print(f"skipped: row {name!r}: {problem}", style="yellow", soft_wrap=True, markup=False)
    return [one for one in planned if one.row.name not in ruled_out]


def run_all(
    runs: TableRuns, planned: list[PlannedRow], console: Console
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The results and errors of all runs; a row that fails does not end the table."""
    outcomes: dict[str, dict[str, Any]] = {}
    problems: dict[str, str] = {}
    for number, one in enumerate(planned, 1):
        with progress_bar(console, f"{one.name} ({number} of {len(planned)})") as bar:
            try:
                outcomes[one.name] = runs.result_of(one, watch(bar))
            except RayliftError as error:
                problems[one.name] = f"{error.problem} ({error.remedy})" if error.remedy else error.problem
                bar.say(f"{one.name} failed: {error}")
            except RuntimeError as error:
                # Usually out of memory, and the next row may need less.
                problems[one.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                bar.say(f"{one.name} failed: {problems[one.name]}")
    return outcomes, problems


def watch(bar: ProgressBar) -> Watch:
    """Callbacks that show a table's progress on a bar."""
    return Watch(
        say=bar.say,
        train=lambda report: bar.show(report.step, report.num_steps, "steps"),
        evaluate=bar.show,
    )


def curves_of(
    arguments: Arguments, table: PaperTable, done: list[PlannedRow], console: Console
) -> dict[str, Mapping[str, Curve]]:
    """Curves of the rows' runs that the tracking server has."""
    folders = [f"{arguments.place}/{one.name}" for one in done]
    try:
        found = read_curves(arguments.tracking_uri, folders, table.curves)
    except ConfigError as error:
        console.print(f"no curves: {error.problem}", style="yellow", soft_wrap=True, markup=False)
        return {}
    return {one.name: curves for one, curves in zip(done, found, strict=True)}


def keep(
    arguments: Arguments,
    table: PaperTable,
    results: dict[str, RowResult],
    claims: list[ClaimResult],
    tracker: MlflowTracker | None,
    failed: bool,
) -> Path:
    """Save the page and its data next to the runs and in the table's MLflow run; returns the page's path."""
    local = Path.cwd() / "tables" if "://" in arguments.place else Path(arguments.place)
    folder = local / arguments.table.stem
    page = write_comparison(table_page(table, results, claims), folder / "table.html")
    figures, directions = score_rows(table, results), rows_of(claims)
    (folder / "directions.json").write_text(json.dumps(directions, indent=1))
    (folder / "scores.json").write_text(json.dumps(figures, indent=1))
    if tracker is not None:
        for path in (page, find_file(arguments.table, READY)):
            tracker.log_artifact(path, "table")
        tracker.log_table("table/scores", figures)
        tracker.log_table("table/directions", directions)
        tracker.finish("FAILED" if failed else "FINISHED")
    return page
