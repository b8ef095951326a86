"""Add part maps to an image collection: train self-supervised part segmentation on it, or read maps made elsewhere.

    raylift segment-parts --data data/birds --out data/birds-parts
    raylift segment-parts --data data/birds --out data/birds-parts model.num_parts=5 --picture p.png
    raylift segment-parts --data data/birds --out data/birds-parts --maps maps --part-names background head body

A new version of the data set is written to --out; the old one is unchanged. Rerun the same command to resume training.
Maps made elsewhere are ID.png with labels or ID.npy with probabilities, see raylift/data/images/precomputed_maps.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from raylift.console import progress_bar
from raylift.core.errors import ConfigError
from raylift.data.images.precomputed_maps import PrecomputedMaps
from raylift.data.images.record import load_image
from raylift.data.store.dataset import ShardedDataset
from raylift.evaluation.images.parts import draw_parts, stack_pictures
from raylift.models import catalogue
from raylift.runs.parts import PartPredictor, check_before, parts_model, write_precomputed, write_predicted
from raylift.runs.train import train
from raylift.tracking.address import tracking_for
from raylift.training.loop import RunProgress


@dataclass(frozen=True)
class Arguments:
    """Add part maps to an image collection.

    Attributes:
        data: prepared image collection: a folder or s3://.
        out: folder of the new version; must not hold a data set yet.
        recipe: training recipe: part_segmentation/quick, part_segmentation/paper, or a recipe's JSON file.
        overrides: recipe values, as path=value, such as model.num_parts=5.
        storage: folder of runs, local or s3://.
        name: run name; by default the recipe's name with "/" replaced by "-".
        tracking: MLflow tracking URI; by default mlflow.db in --storage (current folder for s3://); "none" disables
            tracking.
        maps: folder of existing part maps; nothing is trained.
        maps_cover: what those maps cover: the original images or the stored squares.
        part_names: names of the parts in those maps, the background first; left and right parts swap when mirrored.
        picture: PNG file to draw the parts of the first images into; for trained parts.
        num_pictured: number of images in that file.
    """

    overrides: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    data: str = tyro.MISSING
    out: str = tyro.MISSING
    recipe: str = "part_segmentation/quick"
    storage: str = "runs"
    name: str = ""
    tracking: str = ""
    maps: Path | None = None
    maps_cover: Literal["original", "square"] = "original"
    part_names: tuple[str, ...] = ()
    picture: Path | None = None
    num_pictured: int = 16


def main(arguments: Arguments, console: Console) -> None:
    """Train and write, or read and write; then print a summary."""
    dataset = check_before(arguments.data, arguments.out)
    if arguments.maps is not None:
        if arguments.overrides or arguments.picture:
            raise ConfigError("recipe values or --picture together with --maps", "omit them: nothing is trained")
        maps = PrecomputedMaps.open(arguments.maps, dataset, arguments.maps_cover, arguments.part_names)
        with progress_bar(console, "images") as bar:
            write_precomputed(dataset, arguments.out, maps, bar.show)
    else:
        if arguments.part_names:
            raise ConfigError("--part-names without --maps", "omit it: learned parts have no names")
        predictor = _trained(arguments, console)
        console.print(f"segmenting by {predictor.where}", soft_wrap=True, highlight=False)
        with progress_bar(console, "images") as bar:
            write_predicted(dataset, arguments.out, predictor, bar.show)
        if arguments.picture is not None:
            _draw(dataset, predictor, arguments.picture, arguments.num_pictured)
            console.print(f"picture: {arguments.picture}", soft_wrap=True, highlight=False)
    _summarise(arguments.out, console)


def _trained(arguments: Arguments, console: Console) -> PartPredictor:
    recipe = catalogue.get(arguments.recipe, arguments.overrides)
    # Look for its weights here rather than in a worker.
    _ = parts_model(recipe).extractor
    name = arguments.name or recipe.name.replace("/", "-")
    tracking = tracking_for(arguments.tracking, arguments.storage)
    with progress_bar(console, "steps") as bar:

        def show(report: RunProgress) -> None:
            shown = ("loss/total", "val/explained", "val/agreement", "val/used_parts")
            news = [f"{key.split('/')[-1]} {report.metrics[key]:.4g}" for key in shown if key in report.metrics]
            bar.show(report.step, report.num_steps, "  ".join(news))

        outcome = train(recipe, arguments.data, arguments.storage, name, tracking, progress=show)
    table = Table(title=f"run {name}", show_header=False)
    resumed = f" (resumed from {outcome.fit.resumed_from})" if outcome.fit.resumed_from is not None else ""
    table.add_row("steps", f"{outcome.fit.step}{resumed}")
    table.add_row("time", f"{outcome.seconds / 60:.1f} min")
    for key, value in sorted(outcome.fit.metrics.items()):
        if key.startswith(("val/", "loss/")):
            table.add_row(key, f"{value:.4g}")
    console.print(table)
    return PartPredictor.of_run(outcome.place.folder)


def _draw(dataset: ShardedDataset, predictor: PartPredictor, path: Path, count: int) -> None:
    records = [load_image(dataset, entry.id) for entry in dataset.entries()[: max(1, count)]]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stack_pictures([draw_parts(record, predictor(record)) for record in records])).save(path)


def _summarise(out: str, console: Console) -> None:
    written = ShardedDataset.open(out).manifest
    parts = written.annotations
    console.print(f"{out}: {written.counts['objects']} images with {parts.part_encoding}", soft_wrap=True)
    console.print(f"parts: {', '.join(parts.part_names)}", soft_wrap=True)
    console.print(f"to inspect it: raylift inspect {out} --out contact.png", soft_wrap=True)
