"""Prepare a data set: textured meshes, or images with silhouettes, in; parquet shards out.

    raylift prepare shapes --source sh3f:fetch --categories seats --out data/seats --num-views 12 --image-px 128
    raylift prepare shapes --source folder:meshes --out data/meshes --test-objects 12 --group-by creator
    raylift prepare shapes --source procedural:60 --out s3://bucket/chairs
    raylift prepare images --source cutouts:photos --out data/photos --image-px 128
    raylift prepare images --source stamps:fetch --categories birds --out data/birds
    raylift prepare images --source shapes:data/seats#4 --out data/seat-views
    raylift prepare images --source scenes:data/seats#10,occluders=stamps:fetch --out data/seat-scenes

Each of the two kinds has its own --help. Running the same command again makes only what is missing.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Union

import tyro
from rich.console import Console
from rich.table import Table

from raylift.console import progress_bar
from raylift.data.images.config import ImagesConfig
from raylift.data.inspection import group_notes
from raylift.data.prepare.ingest import REPORT_NAME, IngestReport, ingest
from raylift.data.prepare.splits import read_split_file
from raylift.data.shapes.config import ShapesConfig
from raylift.data.sources.base import AnySource
from raylift.data.sources.opening import Selection, open_source
from raylift.data.sources.registry import source_entries
from raylift.data.store.manifest import DataKind


def _listed(delivers: DataKind) -> str:
    """The sources of a kind of data set, one per line."""
    entries = [entry for entry in source_entries().values() if entry.delivers == delivers]
    return "\n".join(f"    {entry.kind}: {entry.help}" for entry in entries)


@dataclass(frozen=True)
class Common:
    """What both kinds are told.

    Attributes:
        source: kind:path, or a path whose layout is recognised; several may be given.
        out: folder or s3:// prefix of the data set.
        categories: keep only these, such as seats.
        category_words: keep only objects whose name holds one of these words.
        without_words: drop objects whose name holds one of these words.
        max_objects: keep the first so many; 0 keeps all.
        split_file: JSON {"train": [ids], ...} or "id split" per line, instead of the hash.
        local: make shards one after another in this process, without Ray.
        overwrite: make every shard anew.
    """

    source: tuple[str, ...]
    out: str
    categories: tuple[str, ...] = ()
    category_words: tuple[str, ...] = ()
    without_words: tuple[str, ...] = ()
    max_objects: int = 0
    split_file: Path | None = None
    local: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Shapes(Common):
    """Prepare textured meshes.

    Attributes:
        config: numbers of views, points and so on.
    """

    config: Annotated[ShapesConfig, tyro.conf.arg(name="")] = field(default_factory=ShapesConfig)


@dataclass(frozen=True)
class Images(Common):
    """Prepare an image collection.

    Attributes:
        config: size, padding and so on.
    """

    config: Annotated[ImagesConfig, tyro.conf.arg(name="")] = field(default_factory=ImagesConfig)


Arguments = Union[  # noqa: UP007 (tyro names subcommands by annotation)
    Annotated[Shapes, tyro.conf.subcommand("shapes", description=f"Prepare textured meshes from\n{_listed('shapes')}")],
    Annotated[
        Images,
        tyro.conf.subcommand("images", description=f"Prepare an image collection from\n{_listed('images')}"),
    ],
]
"""``shapes`` or ``images``, each with settings of its own."""


def main(arguments: Shapes | Images, console: Console) -> None:
    """Prepare, with progress, and print what came of it."""
    sources: list[AnySource] = []
    for text in arguments.source:
        with console.status(f"opening {text}"):
            sources.append(open_source(text, arguments.config.seed))
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
    console.print(f"to inspect it: raylift inspect {out} --out contact.png")
