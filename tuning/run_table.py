"""Train and evaluate every row of a table of recipes on one data set, and print it beside the paper's figures.

    python tuning/run_table.py tuning/tables/implicit_conditioning.json --data runs/demo/data --storage runs/table

A row is a run of jobs/train.py and one of jobs/evaluate.py; the same command again does only what is missing.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from raylift import recipes
from raylift.console import run_job
from raylift.core.errors import ConfigError

JOBS = Path(__file__).resolve().parents[1] / "jobs"


@dataclass(frozen=True)
class Arguments:
    """Train and evaluate every row of a table of recipes.

    Attributes:
        table: JSON with title, source, recipe and rows (name, overrides, paper_iou).
        data: prepared data set: a folder or s3://.
        storage: folder of the rows' runs.
        rows: only these, by number from 1; all by default.
        overrides: recipe values for every row, as path=value.
    """

    table: Annotated[Path, tyro.conf.Positional]
    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    storage: Path = Path("runs/table")
    rows: tuple[int, ...] = ()


def read_table(path: Path, overrides: tuple[str, ...]) -> dict[str, Any]:
    """The table, every row's recipe checked before the first one trains."""
    try:
        table: dict[str, Any] = json.loads(path.read_text())
        for row in table["rows"]:
            recipes.get(table["recipe"], (*row["overrides"], *overrides))
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a table: {error}", "see tuning/tables for the form") from None
    return table


def run(console: Console, job: str, *words: object) -> None:
    """Run a job, showing the command; a failure ends the table, whose next call goes on from here."""
    command = [str(JOBS / f"{job}.py"), *map(str, words)]
    console.print(f"$ python jobs/{job}.py {shlex.join(command[1:])}", style="cyan", soft_wrap=True)
    if subprocess.run([sys.executable, *command], check=False).returncode:
        raise SystemExit(f"{job} failed; mend it and run the same command again")


def score(row: dict[str, Any], table: dict[str, Any], arguments: Arguments, console: Console) -> dict[str, Any]:
    """A row's scores and its training minutes (0 where it was trained before)."""
    name = re.sub(r"[^a-z0-9]+", "-", row["name"].lower()).strip("-")
    folder = arguments.storage / name
    scores = folder / "evaluation" / "test" / "scores.json"
    minutes = folder / "minutes.json"
    overrides = [*row["overrides"], *arguments.overrides]
    if not scores.exists():
        start = time.monotonic()
        run(
            console,
            "train",
            table["recipe"],
            "--data",
            arguments.data,
            "--storage",
            arguments.storage,
            "--name",
            name,
            *overrides,
        )
        spent = (time.monotonic() - start) / 60 + (json.loads(minutes.read_text()) if minutes.exists() else 0)
        minutes.write_text(json.dumps(spent))
        run(
            console,
            "evaluate",
            "--run",
            folder,
            "--data",
            arguments.data,
            *(text for text in overrides if text.startswith("eval")),
        )
    return {**json.loads(scores.read_text()), "minutes": json.loads(minutes.read_text()) if minutes.exists() else 0.0}


def main(arguments: Arguments, console: Console) -> None:
    """Every row, then the table; baselines come from the first row's evaluation."""
    content = read_table(arguments.table, arguments.overrides)
    chosen = [row for number, row in enumerate(content["rows"], 1) if not arguments.rows or number in arguments.rows]
    results = {row["name"]: score(row, content, arguments, console) for row in chosen}
    wanted = (("ifnet", "iou"), ("ifnet", "normal_consistency"), ("ifnet", "chamfer_l2"), ("occnet", "chamfer_l1"))
    shown = Table(title=f"{content['title']}: mean (median) over held-out objects", caption=content["source"])
    shown.add_column("")
    for protocol, metric in wanted:
        shown.add_column(f"{protocol}/{metric}", justify="right")
    for heading in ("minutes", "paper's IoU"):
        shown.add_column(heading, justify="right")
    for row in chosen:
        cells = cells_of(results[row["name"]], "model", wanted)
        shown.add_row(row["name"], *cells, f"{results[row['name']]['minutes']:.1f}", f"{row['paper_iou']:.3f}")
    first = results[chosen[0]["name"]]
    for method in dict.fromkeys(line["method"] for line in first["summary"] if line["method"] != "model"):
        shown.add_row(method, *cells_of(first, method, wanted), "", "", style="dim")
    console.print(shown)


def cells_of(scores: dict[str, Any], method: str, wanted: tuple[tuple[str, str], ...]) -> list[str]:
    """Mean and median of each metric, as text."""
    found = {
        (line["protocol"], line["metric"]): line
        for line in scores["summary"]
        if line["method"] == method and line["category"] == "all"
    }
    lines = [found.get(which) for which in wanted]
    return ["" if line is None else f"{line['mean']:.4f} ({line['median']:.4f})" for line in lines]


if __name__ == "__main__":
    sys.exit(run_job(Arguments, main, __doc__))
