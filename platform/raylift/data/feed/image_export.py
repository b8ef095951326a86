"""Exports views of a prepared data set as an image folder for ``raylift reconstruct``: image, camera and depth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from raylift.config.data import DataConfig
from raylift.data.feed.image_folder import format_camera
from raylift.data.feed.stream import chosen_entries, evaluation_views
from raylift.data.shapes.record import load_view
from raylift.data.store.dataset import ShardedDataset


def exported_name(object_id: str, view: int) -> str:
    """Name of a view's files, without a suffix."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", object_id).strip("-") + f"-{view:02d}"


def export_images(dataset: ShardedDataset, split: str, config: DataConfig, folder: Path) -> list[Path]:
    """Write the evaluated views of a split as NAME.png (RGBA) with NAME.json (camera) and NAME.depth.npy.

    Raises:
        DataError: the split has no object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for entry in chosen_entries(dataset, split, config):
        for number in evaluation_views(entry, config.eval_views):
            view = load_view(dataset, entry.id, number)
            name = exported_name(entry.id, number)
            written.append(folder / f"{name}.png")
            Image.fromarray(view.rgba).save(written[-1])
            written[-1].with_suffix(".json").write_text(format_camera(view.camera))
            np.save(folder / f"{name}.depth.npy", view.depth)
    return written
