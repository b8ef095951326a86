"""A look at a prepared data set: numbers an object, what seems wrong with it, a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import cKDTree

from raylift.core.errors import DataError
from raylift.core.types import GRID_HALF_EXTENT
from raylift.data.dataset import ShardedDataset
from raylift.data.ingest import REPORT_NAME
from raylift.data.manifest import ObjectEntry
from raylift.data.samples import composited
from raylift.data.stream import evaluation_views


@dataclass(frozen=True)
class ObjectStatistics:
    """Numbers of one object.

    Attributes:
        coverage: mean share of the image that the silhouette covers.
        volume: of the true shape, in cubed object units, by the IoU points.
        num_faces: of the true surface.
        num_cloud_points: of the merged cloud.
        longest_edge: of the true surface's bounding box; close to 1.
        cloud_gap: median distance of cloud points to the true surface; near 0 when both agree.
        near_surface: share of supervised points nearer to the surface than the truncation.
    """

    entry: ObjectEntry
    coverage: float
    volume: float
    num_faces: int
    num_cloud_points: int
    longest_edge: float
    cloud_gap: float
    near_surface: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What a human should look at."""
        found = []
        if self.coverage < 0.01:
            found.append(f"its silhouette covers {self.coverage:.2%} of the image")
        if self.volume < 1e-4:
            found.append(f"its volume is {self.volume:.1e}: is it a sheet?")
        if abs(self.longest_edge - 1) > 0.05:
            found.append(f"its longest edge is {self.longest_edge:.3f} instead of 1: parts cannot be seen from outside")
        if self.cloud_gap > 0.02:
            found.append(f"its cloud lies {self.cloud_gap:.3f} from its surface")
        return tuple(found)


def object_statistics(dataset: ShardedDataset, entry: ObjectEntry) -> ObjectStatistics:
    """The numbers of one object.

    Raises:
        DataError: its shard is damaged.
    """
    columns = ["cloud_points", "iou_points", "iou_inside", "mesh_vertices", "mesh_faces", "surface_points"]
    columns += [f"sample_sdf_{index}" for index in range(len(dataset.manifest.sigmas))]
    record = dataset.load_object(entry.id, columns)
    vertices = record.array("mesh_vertices")
    cloud = record.array("cloud_points")
    gaps, _ = cKDTree(record.surface_points).query(cloud[:: max(1, len(cloud) // 2000)])
    sdf = np.concatenate([record.array(name) for name in columns if name.startswith("sample_sdf")])
    coverage = [float((view.rgba[..., 3] / 255.0).mean()) for view in dataset.load_views(entry.id)]
    return ObjectStatistics(
        entry=entry,
        coverage=float(np.mean(coverage)),
        volume=float(record.iou_inside.mean()) * (2 * GRID_HALF_EXTENT) ** 3,
        num_faces=len(record.stored("mesh_faces")),
        num_cloud_points=len(cloud),
        longest_edge=float((vertices.max(axis=0) - vertices.min(axis=0)).max()),
        cloud_gap=float(np.median(gaps)),
        near_surface=float((np.abs(sdf) < 0.0999).mean()),
    )


def ingest_report(dataset: ShardedDataset) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What the ingest set aside, and what it warned of: (id, words) each."""
    try:
        report = json.loads(dataset.storage.read(REPORT_NAME))
        set_aside = [(row["id"], row["reason"]) for row in report["set_aside"]]
        return set_aside, [(row["id"], row["note"]) for row in report["warnings"]]
    except (DataError, ValueError, KeyError):
        return [], [(REPORT_NAME, "is missing or damaged: prepare again to have it")]


def contact_sheet(
    dataset: ShardedDataset,
    entries: Sequence[ObjectEntry],
    views: int = 3,
    tile_px: int = 96,
    columns: int = 4,
) -> Image.Image:
    """Objects side by side, a few views each, with category, split and caption underneath."""
    if not entries:
        raise DataError("there is no object to show", "check --split and --categories")
    columns = min(columns, len(entries))
    label_px = 26
    cell = (views * tile_px + 8, tile_px + label_px)
    rows = -(-len(entries) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for index, entry in enumerate(entries):
        left, top = (index % columns) * cell[0], (index // columns) * cell[1]
        for place, view in enumerate(evaluation_views(entry, views)):
            image, _ = composited(dataset.load_view(entry.id, view).rgba, tile_px)
            pixels = (image.transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8)
            sheet.paste(Image.fromarray(pixels), (left + place * tile_px, top))
        width = views * tile_px // 6  # the built-in font is about 6 pixels wide
        draw.text((left + 3, top + tile_px), _plain(entry.id.split("/", 1)[-1])[:width], fill=(20, 20, 20))
        words = f"{entry.split}: {entry.caption}"
        draw.text((left + 3, top + tile_px + 12), _plain(words)[:width], fill=(110, 110, 110))
    return sheet


def _plain(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")
