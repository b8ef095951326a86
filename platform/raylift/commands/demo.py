"""The whole pipeline on real furniture: fetch, prepare, train, evaluate, reconstruct; prints every command it runs.

    raylift demo --out runs/demo

Each step is one of the other jobs, run from the command line. Rerun an interrupted demo to resume it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from raylift.config import tree
from raylift.config.recipe import Recipe
from raylift.core.errors import DataError
from raylift.data.feed.image_export import export_images
from raylift.data.sources.furniture import fetch_furniture
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue
from raylift.tracking.address import default_tracking_uri
from raylift.weights.packages import PACKAGES

JOBS = Path(__file__).resolve().parent
ALONE = ("evaluate", "reconstruct")
"""Jobs of one process, which may use every core; make limits the others to one thread per process."""


@dataclass(frozen=True)
class Arguments:
    """The whole pipeline on real furniture; rerun an interrupted demo to resume it.

    Attributes:
        out: folder of all results.
        recipe: name of the recipe to train.
        num_views: rendered views per object.
        image_px: side of the views in pixels.
        resolution: cells per edge for the reconstructed meshes.
        source: your own meshes instead of the furniture, as for jobs/prepare.py.
        overrides: recipe values, as path=value.
    """

    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    out: Path = Path("runs/demo")
    recipe: str = "implicit/quick"
    num_views: int = 12
    image_px: int = 128
    resolution: int = 128
    source: str = ""


def run(console: Console, job: str, *words: object, may_fail: bool = False) -> None:
    """Run a job as a user would, showing the command; a failure ends the demo unless ``may_fail``."""
    command = [f"jobs/{job}.py", *map(str, words)]
    console.rule(f"[bold]{job}")
    console.print(f"$ python {shlex.join(command)}", style="cyan", soft_wrap=True)
    environment = dict(os.environ)
    if job in ALONE:
        environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run([sys.executable, str(JOBS / f"{job}.py"), *command[1:]], env=environment, check=False)
    if done.returncode and not may_fail:
        console.print(f"{job} failed. Rerun the demo to resume from here.", style="red")
        raise SystemExit(done.returncode)


def wanted_weights(recipe: Recipe) -> list[str]:
    """Networks whose weights the recipe names, and AlexNet, which the evaluation's LPIPS needs."""
    named = {value for value in tree.flatten(recipe.model).values() if isinstance(value, str)}
    return [name for name in PACKAGES if name in named | {"alexnet"}]


def choose_source(arguments: Arguments, console: Console) -> list[str]:
    """Words for jobs/prepare.py: the furniture's seats, or generated chairs if the furniture cannot be fetched."""
    if arguments.source:
        return ["--source", arguments.source]
    try:
        with console.status("downloading the furniture libraries (120 MB, once)"):
            folder = fetch_furniture(arguments.out / "furniture")
    except DataError as error:
        console.print(f"[yellow]The furniture cannot be fetched:[/] {error}", soft_wrap=True)
        console.print("[yellow]Using 60 generated chairs instead.[/]")
        return ["--source", "procedural:60"]
    return ["--source", f"sh3f:{folder}", "--categories", "seats"]


def prepare_settings(arguments: Arguments) -> list[object]:
    """Words for jobs/prepare.py: small views and grids, cameras from all azimuths, 12 test objects per category."""
    sizes = ["--num-views", arguments.num_views, "--image-px", arguments.image_px]
    return [*sizes, "--truth-resolution", 128, "--samples", 50_000, "--test-objects", 12, "--val-objects", 3]


def main(arguments: Arguments, console: Console) -> None:
    """Run every step, then print the results."""
    start = time.monotonic()
    out, data, name = arguments.out, arguments.out / "data", arguments.recipe.replace("/", "-")
    run(console, "prepare", "shapes", *choose_source(arguments, console), "--out", data, *prepare_settings(arguments))
    prepared = time.monotonic()
    # Without them the evaluation leaves LPIPS out, and a recipe that needs some says so.
    run(console, "fetch_weights", *wanted_weights(catalogue.get(arguments.recipe, arguments.overrides)), may_fail=True)
    run(console, "train", arguments.recipe, "--data", data, "--storage", out, "--name", name, *arguments.overrides)
    trained = time.monotonic()
    run(console, "evaluate", "--run", out / name, "--data", data)
    recipe = catalogue.get(arguments.recipe, arguments.overrides)
    one_view = replace(recipe.data, eval_views=1)  # the evaluation may have used more of them
    images = export_images(ShardedDataset.open(data), "test", one_view, out / "held-out")
    run(console, "reconstruct", "--run", out / name, "--images", out / "held-out", "--out", out / "meshes",
        "--resolution", arguments.resolution, "--log-to-run")  # fmt: skip
    finished = time.monotonic()

    console.rule("[bold]done")
    summarise(json.loads((out / name / "evaluation" / "test" / "scores.json").read_text()), console)
    minutes = [(prepared - start) / 60, (trained - prepared) / 60, (finished - trained) / 60]
    console.print(
        "prepared in {:.1f}, trained in {:.1f}, evaluated and reconstructed in {:.1f} minutes".format(*minutes)
    )
    console.print(f"{len(images)} held-out images and their meshes: {out / 'meshes'}")
    console.print(f"open in a browser:  {(out / 'meshes' / 'viewer.html').resolve().as_uri()}", soft_wrap=True)
    console.print(f"images next to the truth:  {out / name / 'evaluation' / 'test' / 'panels.png'}", soft_wrap=True)
    mlflow = shlex.join([str(Path(sys.executable).parent / "mlflow"), "ui", "--backend-store-uri",
                         default_tracking_uri(out)])  # fmt: skip
    console.print(f"runs, curves and meshes in MLflow:  {mlflow}", soft_wrap=True)


def summarise(scores: dict[str, Any], console: Console) -> None:
    """Print a small table: the model next to its baselines."""
    rows = {
        (row["method"], row["protocol"], row["metric"]): row for row in scores["summary"] if row["category"] == "all"
    }
    methods = list(dict.fromkeys(row["method"] for row in scores["summary"]))
    wanted = (("occnet", "iou"), ("occnet", "chamfer_l1"), ("occnet", "normal_consistency"), ("color", "surface_l1"))
    table = Table(title=f"{scores['num_samples']} held-out images, mean (median)")
    table.add_column("")
    for protocol, metric in wanted:
        table.add_column(f"{protocol}/{metric}", justify="right")
    for method in methods:
        cells = [rows.get((method, *which)) for which in wanted]
        table.add_row(method, *("" if row is None else f"{row['mean']:.3f} ({row['median']:.3f})" for row in cells))
    console.print(table)
