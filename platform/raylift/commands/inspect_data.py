"""Inspect a prepared data set: counts, statistics, problems, a contact sheet.

raylift inspect data/seats --out contact.png
raylift inspect s3://bucket/seats --split test --verify
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from raylift.console import progress_bar
from raylift.data.inspection import Statistics, contact_sheet, group_notes, ingest_report, numbers_of, statistics_of
from raylift.data.store.dataset import ShardedDataset


@dataclass(frozen=True)
class Arguments:
    """Inspect a prepared data set.

    Attributes:
        data: folder or s3:// prefix of the data set.
        out: PNG file for a contact sheet; by default none is written.
        split: split to inspect; by default all.
        categories: categories to inspect; by default all.
        max_objects: maximum number of objects on the contact sheet; 0 shows all.
        views: views per object on the contact sheet; an image collection has one.
        tile_px: side of a view on the contact sheet in pixels.
        verify: whether to read every shard and verify its checksum.
    """

    data: Annotated[str, tyro.conf.Positional]
    out: Path | None = None
    split: str | None = None
    categories: tuple[str, ...] = ()
    max_objects: int = 48
    views: int = 3
    tile_px: int = 96
    verify: bool = False


def main(arguments: Arguments, console: Console) -> int:
    """Print a description of the data set; the exit status is 1 if a shard is damaged."""
    dataset = ShardedDataset.open(arguments.data)
    entries = dataset.entries(arguments.split, arguments.categories)
    _print_counts(dataset, console)
    found = []
    with progress_bar(console, "reading") as bar:
        for entry in entries:
            found.append(statistics_of(dataset, entry))
            bar.show(len(found), len(entries))
    if found:
        _print_statistics(found, console)
    set_aside, warnings = ingest_report(dataset)
    _print_pairs("set aside during ingest", set_aside, console)
    _print_pairs("warnings during ingest", warnings, console)
    _print_pairs("worth a look", [(one.entry.id, text) for one in found for text in one.problems], console)
    damaged = dataset.verify() if arguments.verify else []
    if arguments.verify:
        console.print("every shard matches its checksum" if not damaged else f"damaged: {', '.join(damaged)}")
    if damaged:
        console.print("  remedy: delete those files and rerun the same prepare command")
    if arguments.out is not None and entries:
        shown = entries[: arguments.max_objects or None]
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(dataset, shown, arguments.views, arguments.tile_px).save(arguments.out)
        console.print(f"contact sheet of {len(shown)} objects: {arguments.out}")
    return 1 if damaged else 0


def _print_counts(dataset: ShardedDataset, console: Console) -> None:
    manifest = dataset.manifest
    counts = manifest.counts
    table = Table(title=dataset.uri)
    for heading in ("category", "objects", *counts["by_split"]):
        table.add_column(heading)
    for category, number in counts["by_category"].items():
        splits = (len(dataset.entries(split, (category,))) for split in counts["by_split"])
        table.add_row(category, str(number), *(str(one) for one in splits))
    table.add_row("all", str(counts["objects"]), *(str(one) for one in counts["by_split"].values()))
    console.print(table)
    size = sum(file.num_bytes for shard in manifest.shards for file in shard)
    config = manifest.settings["config"]
    console.print(
        f"{counts['views']} images of {config['image_px']} px, seed {manifest.seed}; {len(manifest.shards)} shards, "
        f"{size / 2**20:.0f} MiB"
    )
    for note in group_notes(manifest):
        console.print(note)
    if manifest.sigmas:
        console.print(
            f"sigmas {list(manifest.sigmas)}, {config['samples']} points each, light {config['lighting']}, "
            f"views {config.get('views', 'grid')}"
        )
    for what, names in (
        ("keypoints", manifest.annotations.keypoint_names),
        ("parts", manifest.annotations.part_names),
    ):
        if names:
            console.print(f"{len(names)} {what}: {', '.join(names)}")


def _print_statistics(found: list[Statistics], console: Console) -> None:
    table = Table(title=f"{len(found)} objects")
    for heading in ("", "min", "median", "max"):
        table.add_column(heading)
    numbers = [numbers_of(one) for one in found]
    for name in numbers[0]:
        values = np.array([one[name] for one in numbers])
        table.add_row(name, *(f"{value:.4g}" for value in (values.min(), np.median(values), values.max())))
    console.print(table)


def _print_pairs(title: str, pairs: list[tuple[str, str]], console: Console) -> None:
    if not pairs:
        console.print(f"{title}: none")
        return
    table = Table("object", "what", title=f"{title}: {len(pairs)}")
    for name, text in pairs:
        table.add_row(name, text)
    console.print(table)
