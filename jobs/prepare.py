"""Prepare a data set: textured meshes, or images with silhouettes, in; parquet shards out.

    python jobs/prepare.py --source sh3f:furniture --categories seats --out data/seats
    python jobs/prepare.py --fetch-furniture cache --categories seats --out data/seats --num-views 12 --image-px 128
    python jobs/prepare.py --source procedural:60 --out s3://bucket/chairs
    python jobs/prepare.py --source cutouts:photos --out data/photos --image-px 128
    python jobs/prepare.py --fetch-stamps cache --categories birds --out data/birds
    python jobs/prepare.py --source shapes:data/seats --out data/seat-views

    python jobs/prepare.py --source folder:meshes --out data/meshes --test-objects 12 --val-objects 4 --group-by creator

Meshes and images have settings of their own: add --help to a command with its --source to see them.
Running the same command again makes only what is missing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from raylift.console import progress_bar, run_job
from raylift.core.errors import ConfigError
from raylift.data.images.config import ImagesConfig
from raylift.data.inspection import group_notes
from raylift.data.prepare.ingest import REPORT_NAME, IngestReport, ingest
from raylift.data.prepare.splits import read_split_file
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.base import AnySource
from raylift.data.sources.furniture import fetch_furniture
from raylift.data.sources.opening import Selection, open_source, source_data_kind
from raylift.data.sources.stamps import fetch_stamps


@dataclass(frozen=True)
class Common:
    """Prepare a data set: sources to parquet shards, resumable.

    Attributes:
        out: folder or s3:// prefix of the data set.
        source: kind:path or a path whose layout is recognised; several may be given. Meshes: folder, sh3f, shapenet,
            future3d, procedural:COUNT and procedural:vehicles:COUNT. Images: cutouts, masked, coco, cub, stamps, and
            shapes (one view of each object of a prepared data set; shapes:FOLDER#4 takes four).
        fetch_furniture: get Debian's furniture libraries into this folder (120 MB, once) and use them as a source.
        fetch_stamps: get Debian's Tux Paint stamps into this folder (161 MB, once) and use them as a source.
        categories: keep only these, such as seats.
        category_words: keep only objects whose name holds one of these words.
        without_words: drop objects whose name holds one of these words.
        max_objects: keep the first so many; 0 keeps all.
        split_file: JSON {"train": [ids], ...} or "id split" per line, instead of the hash.
        local: make shards one after another in this process, without Ray.
        overwrite: make every shard anew.
    """

    out: str
    source: tuple[str, ...] = ()
    fetch_furniture: Path | None = None
    fetch_stamps: Path | None = None
    categories: tuple[str, ...] = ()
    category_words: tuple[str, ...] = ()
    without_words: tuple[str, ...] = ()
    max_objects: int = 0
    split_file: Path | None = None
    local: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Arguments(Common):
    """Prepare textured meshes.

    Attributes:
        config: numbers of views, points and so on.
    """

    config: Annotated[ShapesConfig, tyro.conf.arg(name="")] = field(default_factory=ShapesConfig)


@dataclass(frozen=True)
class ImageArguments(Common):
    """Prepare an image collection.

    Attributes:
        config: size, padding and so on.
    """

    config: Annotated[ImagesConfig, tyro.conf.arg(name="")] = field(default_factory=ImagesConfig)


def arguments_type(words: Sequence[str]) -> type[Arguments] | type[ImageArguments]:
    """Whose settings a command line has: those of the first source that it names."""
    for index, word in enumerate(words):
        if word.replace("_", "-") in ("--fetch-stamps", "--fetch-furniture"):
            return ImageArguments if "stamps" in word else Arguments
        if word == "--source" and index + 1 < len(words):
            return ImageArguments if source_data_kind(words[index + 1]) == "images" else Arguments
    return Arguments


def main(arguments: Arguments | ImageArguments, console: Console) -> None:
    """Prepare, with progress, and print what came of it."""
    sources: list[AnySource] = [open_source(text, arguments.config.seed) for text in arguments.source]
    if arguments.fetch_furniture is not None:
        with console.status("getting the furniture libraries (120 MB)"):
            sources.append(open_source(f"sh3f:{fetch_furniture(arguments.fetch_furniture)}"))
    if arguments.fetch_stamps is not None:
        with console.status("getting the stamps (161 MB)"):
            sources.append(open_source(f"stamps:{fetch_stamps(arguments.fetch_stamps)}"))
    if not sources:
        raise ConfigError("there is no source", "give --source kind:path, or --fetch-furniture FOLDER")
    selection = Selection(
        arguments.category_words, arguments.without_words, arguments.categories, arguments.max_objects
    )
    splits = None if arguments.split_file is None else read_split_file(arguments.split_file)
    start = time.perf_counter()
    with progress_bar(console, "objects") as bar:
        report = ingest(
            sources,
            arguments.out,
            arguments.config,
            selection,
            splits,
            parallel="none" if arguments.local else "ray",
            overwrite=arguments.overwrite,
            progress=bar.show,
        )
    _summarise(report, arguments.out, time.perf_counter() - start, console)


def _summarise(report: IngestReport, out: str, seconds: float, console: Console) -> None:
    counts = report.manifest.counts
    console.print(f"{out}: {counts['objects']} objects, {counts['views']} views, {seconds:.0f} s", soft_wrap=True)
    table = Table("category", *counts["by_split"])
    splits = {name: Counter[str]() for name in counts["by_category"]}
    for entry in report.manifest.entries:
        splits[entry.category][entry.split] += 1
    for name, found in [*splits.items(), ("all", Counter(counts["by_split"]))]:
        table.add_row(name, *(str(found[split]) for split in counts["by_split"]))
    console.print(table)
    for note in group_notes(report.manifest):
        console.print(note)
    console.print(f"shards: {report.num_made_shards} made, {report.num_kept_shards} were there already")
    for title, rows in (("set aside", report.set_aside), ("warnings", report.warnings)):
        if rows:
            problems = Table("object", "reason", title=f"{len(rows)} {title} (all in {REPORT_NAME})")
            # What concerns the whole set is last in the list, and first here.
            whole = [row for row in rows if row[0] in ("splits", "training split")]
            for name, reason in [*whole, *(row for row in rows if row not in whole)][:12]:
                problems.add_row(name, reason)
            console.print(problems)
    console.print(f"look at it: python jobs/inspect_data.py {out} --out contact.png")


if __name__ == "__main__":
    sys.exit(run_job(arguments_type(sys.argv[1:]), main, __doc__))
