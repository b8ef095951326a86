"""Inspection of a prepared data set of either kind: statistics per object, likely problems, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from PIL import Image, ImageDraw

from raylift.core.errors import DataError, StorageError
from raylift.data.feed.resizing import composited
from raylift.data.feed.stream import evaluation_views
from raylift.data.kind import Statistics
from raylift.data.kinds import kind_of
from raylift.data.prepare.groups import divided_groups, members_of
from raylift.data.prepare.ingest import REPORT_NAME
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import Manifest, ObjectEntry
from raylift.data.store.stored_view import StoredView


def statistics_of(dataset: ShardedDataset, entry: ObjectEntry) -> Statistics:
    """The statistics of one object or image, depending on the kind of data set.

    Raises:
        DataError: its shard is damaged.
    """
    return kind_of(dataset).statistics(dataset, entry)


def numbers_of(statistics: Statistics) -> dict[str, float]:
    """Statistics as numbers by name."""
    return {item.name: float(getattr(statistics, item.name)) for item in fields(statistics) if item.name != "entry"}


def ingest_report(dataset: ShardedDataset) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Items that the ingest set aside, and its warnings: (id, text) each."""
    try:
        report = json.loads(dataset.storage.read(REPORT_NAME))
        set_aside = [(row["id"], row["reason"]) for row in report["set_aside"]]
        return set_aside, [(row["id"], row["note"]) for row in report["warnings"]]
    except (StorageError, ValueError, KeyError):
        return [], [(REPORT_NAME, "is missing or damaged: prepare again to restore it")]


def group_notes(manifest: Manifest) -> list[str]:
    """Messages on the number of groups, the largest ones, and those divided by the splits."""
    if not any(entry.group for entry in manifest.entries):
        return ["groups were not recorded: prepare again to keep objects of one body in one split"]
    by_group = members_of(manifest.groups)
    shared = sorted((members for members in by_group.values() if len(members) > 1), key=len, reverse=True)
    how = manifest.settings["config"].get("group_by", "none")
    notes = [
        f"{len(by_group)} groups (--group-by {how}); {sum(map(len, shared))} objects share one with another"
        + (f", {len(shared[0])} in the largest: {', '.join(shared[0][:4])}" if shared else "")
    ]
    divided = divided_groups(manifest.groups, manifest.splits)
    if divided:
        shown = ", ".join(f"{member} ({manifest.splits[member]})" for member in divided[0][1][:4])
        notes.append(f"{len(divided)} groups are divided between splits, so held-out scores flatter: {shown}")
    return notes


def contact_sheet(
    dataset: ShardedDataset,
    entries: Sequence[ObjectEntry],
    views: int = 3,
    tile_px: int = 96,
    columns: int = 4,
) -> Image.Image:
    """Objects side by side, a few views each, with id, split and caption below; keypoints are dots."""
    if not entries:
        raise DataError("no object to show", "check --split and --categories")
    views = min(views, max(entry.num_views for entry in entries))
    columns = min(columns if views > 1 else 3 * columns, len(entries))
    label_px = 26
    cell = (views * tile_px + 8, tile_px + label_px)
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(entries):
        left, top = (index % columns) * cell[0], (index // columns) * cell[1]
        for place, view in enumerate(evaluation_views(entry, views)):
            picture = kind_of(dataset).picture(dataset, entry.id, view, False)
            sheet.paste(_tile(picture, tile_px), (left + place * tile_px, top))
        width = views * tile_px // 6  # the built-in font is about 6 pixels wide
        name = entry.id.split("/", 1)[-1]
        name = name if len(name) <= width else name.rsplit("/", 1)[-1]
        draw.text((left + 3, top + tile_px), _plain(name)[:width], fill=(20, 20, 20))
        words = f"{entry.split}: {entry.caption}"
        draw.text((left + 3, top + tile_px + 12), _plain(words)[:width], fill=(110, 110, 110))
    return sheet


def _tile(picture: StoredView, tile_px: int) -> Image.Image:
    image, _ = composited(picture.rgba, tile_px)
    tile = Image.fromarray((image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))
    draw = ImageDraw.Draw(tile)
    for u, v, visible in [] if picture.keypoints is None else picture.keypoints.tolist():
        if visible > 0:
            x, y = (u + 1) / 2 * tile_px, (v + 1) / 2 * tile_px
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(220, 30, 30), outline="white")
    return tile


def _plain(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
