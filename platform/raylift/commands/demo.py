"""The whole pipeline on real furniture: fetch, prepare, train, evaluate, reconstruct; prints every command it runs.

    raylift demo --out runs/demo
    raylift demo --tiny               # does it work here? Generated chairs, no download, about a minute

Each step is one of the other commands. Rerun an interrupted demo to resume it.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from raylift.commands.main import main as run_command
from raylift.config import tree
from raylift.config.recipe import Recipe
from raylift.core.errors import ConfigError, DataError
from raylift.data.feed.image_export import export_images
from raylift.data.sources.furniture import fetch_furniture
from raylift.data.store.dataset import ShardedDataset
from raylift.models import catalogue
from raylift.tracking.address import default_tracking_uri
from raylift.weights.packages import PACKAGES

ALONE = ("evaluate", "reconstruct")
"""Commands of one process, which may use every core; make limits the others to one thread per process."""
TINY_OUT = Path("runs/demo-tiny")
TINY_STEPS = 60
"""Enough for ``implicit/test`` to have a surface."""
TINY_SHAPES = {
    "truth-resolution": 40,
    "samples": 2000,
    "cloud-points": 1000,
    "surface-points": 1500,
    "iou-points": 5000,
    "scan-views": 20,
    "scan-px": 64,
    "test-objects": 2,
    "val-objects": 1,
}
"""Options of raylift prepare with ``--tiny``."""


@dataclass(frozen=True)
class Arguments:
    """The whole pipeline on real furniture; rerun an interrupted demo to resume it.

    Attributes:
        out: folder of all results (runs/demo-tiny with --tiny).
        recipe: name of the recipe to train.
        num_views: rendered views per object.
        image_px: side of the views in pixels.
        resolution: cells per edge for the reconstructed meshes.
        source: your own meshes instead of the furniture, as for raylift prepare.
        tiny: smallest form, which shows that everything works and gives no useful model: six generated chairs, a
            recipe for tests, one process without Ray or MLflow.
        overrides: recipe values, as path=value.
    """

    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    out: Path = Path("runs/demo")
    recipe: str = "implicit/quick"
    num_views: int = 12
    image_px: int = 128
    resolution: int = 128
    source: str = ""
    tiny: bool = False


def shrunk(arguments: Arguments) -> Arguments:
    """The arguments of the smallest form.

    Raises:
        ConfigError: a size or a recipe is given as well.
    """
    for name in ("recipe", "num_views", "image_px", "resolution"):
        if getattr(arguments, name) != getattr(Arguments, name):
            raise ConfigError(f"--{name.replace('_', '-')} together with --tiny", "omit one: --tiny has its own sizes")
    steps = [f"schedule.{name}={TINY_STEPS}" for name in ("num_steps", "eval_every", "checkpoint_every")]
    small = [*steps, "scale.workers=0", 'evaluation.protocols=["occnet"]']
    return replace(
        arguments,
        out=TINY_OUT if arguments.out == Arguments.out else arguments.out,
        recipe="implicit/test",
        num_views=2,
        image_px=32,
        resolution=32,
        source=arguments.source or "procedural:6",
        overrides=(*small, *arguments.overrides),
    )


def run(console: Console, command: str, *words: object, may_fail: bool = False, in_process: bool = False) -> None:
    """Run a command as a user would, showing it; a failure ends the demo unless ``may_fail``."""
    line = [command, *map(str, words)]
    console.rule(f"[bold]{command}")
    console.print(f"$ raylift {shlex.join(line)}", style="cyan", soft_wrap=True, highlight=False)
    if in_process:
        status = run_command(line)
    else:
        environment = dict(os.environ)
        if command in ALONE:
            environment.pop("OMP_NUM_THREADS", None)
        # -P: modules in the current folder must not hide installed ones.
        status = subprocess.run([sys.executable, "-P", "-m", "raylift", *line], env=environment, check=False).returncode
    if status and not may_fail:
        console.print(f"{command} failed. Rerun the demo to resume from here.", style="red")
        raise SystemExit(status)


def wanted_weights(recipe: Recipe) -> list[str]:
    """Networks whose weights the recipe names, and AlexNet, which the evaluation's LPIPS needs."""
    named = {value for value in tree.flatten(recipe.model).values() if isinstance(value, str)}
    return [name for name in PACKAGES if name in named | {"alexnet"}]


def choose_source(arguments: Arguments, console: Console) -> list[str]:
    """Words for raylift prepare: the furniture's seats, or generated chairs if the furniture cannot be fetched."""
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
    """Words for raylift prepare: small views and grids, cameras from all azimuths, 12 test objects per category."""
    sizes = ["--num-views", arguments.num_views, "--image-px", arguments.image_px]
    if arguments.tiny:
        return [*sizes, "--local", *(word for name, value in TINY_SHAPES.items() for word in (f"--{name}", value))]
    return [*sizes, "--truth-resolution", 128, "--samples", 50_000, "--test-objects", 12, "--val-objects", 3]


def main(arguments: Arguments, console: Console) -> None:
    """Run every step, then print the results."""
    arguments = shrunk(arguments) if arguments.tiny else arguments
    start = time.monotonic()
    out, data, name = arguments.out, arguments.out / "data", arguments.recipe.replace("/", "-")
    recipe = catalogue.get(arguments.recipe, arguments.overrides)
    step = partial(run, console, in_process=arguments.tiny)
    untracked = ["--tracking", "none"] if arguments.tiny else []
    step("prepare", "shapes", *choose_source(arguments, console), "--out", data, *prepare_settings(arguments))
    prepared = time.monotonic()
    if not arguments.tiny:
        # Without them the evaluation leaves LPIPS out, and a recipe that needs some says so.
        step("fetch-weights", *wanted_weights(recipe), may_fail=True)
    place = ["--data", data, "--storage", out, "--name", name, *untracked]
    step("train", arguments.recipe, *place, *arguments.overrides)
    trained = time.monotonic()
    step("evaluate", "--run", out / name, "--data", data, *untracked)
    one_view = replace(recipe.data, eval_views=1)  # the evaluation may have used more of them
    images = export_images(ShardedDataset.open(data), "test", one_view, out / "held-out")
    step("reconstruct", "--run", out / name, "--images", out / "held-out", "--out", out / "meshes",
         "--resolution", arguments.resolution, *([] if arguments.tiny else ["--log-to-run"]))  # fmt: skip
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
    if arguments.tiny:
        return
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
