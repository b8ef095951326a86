"""Pictures that scenes are made of, besides the object: cut-outs and photographs, apart by split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from raylift.core.errors import DataError
from raylift.data.prepare.splits import hashed_split
from raylift.data.shapes.record import load_view
from raylift.data.sources.base import ImageSource
from raylift.data.sources.image_reading import find_images, read_picture
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.stored_view import silhouette_box

VAL_SHARE, TEST_SHARE = 0.15, 0.3
"""Fractions of the pictures for validation and test scenes."""
MOST_REJECTED = 10
MOST_BYTES, MOST_PIXELS = 64 << 20, 100_000_000
KEPT_PX = 256
"""Pictures are kept at this length of their longer edge at most: scenes show them smaller."""


def split_of(name: str) -> str:
    """The split whose scenes may show a picture: a function of its name alone."""
    return hashed_split(f"picture {name}", VAL_SHARE, TEST_SHARE)


@dataclass(frozen=True)
class Pictures:
    """The pictures that scenes of one split may show.

    Attributes:
        names: in a stable order.
        load: reads the picture of a name: uint8 [H, W, 4], cut to the box of what it shows.
    """

    names: tuple[str, ...]
    load: Callable[[str], np.ndarray]

    def draw(self, rng: np.random.Generator, rejected: list[str]) -> np.ndarray:
        """A drawn picture; for one that cannot be used, another is drawn, and the reason is added to ``rejected``.

        Raises:
            DataError: too many in a row cannot be used.
        """
        for _ in range(MOST_REJECTED):
            name = self.names[int(rng.integers(len(self.names)))]
            try:
                return self.load(name)
            except DataError as error:
                rejected.append(f"not pasted: {error.problem}")
        raise DataError(f"{MOST_REJECTED} pictures in a row cannot be used, such as {name}", "check the folder")


def cutouts(source: ImageSource, split: str, categories: Sequence[str]) -> Pictures:
    """The cut-outs of a source for scenes of a split, without those that show something of a category.

    Raises:
        DataError: none is left.
    """
    items = {
        item.id: item for item in source.items() if not (_words(f"{item.name} {item.category}") & _words(*categories))
    }
    names = tuple(sorted(name for name in items if split_of(name) == split))
    if not names:
        raise DataError(
            f"none of the {len(items)} occluders is for {split} scenes", "add cut-outs: they are divided by their names"
        )

    @lru_cache(maxsize=512)
    def load(name: str) -> np.ndarray:
        return _trimmed(source.load(items[name], MOST_BYTES, MOST_PIXELS).rgba)

    return Pictures(names, load)


def views_of_others(shapes: ShardedDataset, split: str, category: str) -> Pictures:
    """Views of the split's objects of other categories, as cut-outs.

    Raises:
        DataError: the split has no object of another category.
    """
    others = [entry for entry in shapes.entries(split) if entry.category != category]
    if not others:
        raise DataError(
            f"{shapes.uri} has no {split} object to hide {category} with: all are of this category",
            "pass occluders=FOLDER with cut-out images, or levels of L0 alone",
        )
    names = tuple(f"{entry.id}#{view}" for entry in others for view in range(entry.num_views))

    def load(name: str) -> np.ndarray:
        object_id, _, view = name.rpartition("#")
        return _trimmed(load_view(shapes, object_id, int(view), keep=False).rgba)

    return Pictures(names, load)


def photographs(folder: Path, split: str) -> Pictures:
    """The photographs of a folder for scenes of a split.

    Raises:
        DataError: none is left.
    """
    found = [path.as_posix() for path in find_images(folder)]
    names = tuple(name for name in found if split_of(name) == split)
    if not names:
        raise DataError(
            f"none of the {len(found)} backgrounds in {folder} is for {split} scenes",
            "add photographs: they are divided by their names",
        )

    @lru_cache(maxsize=256)
    def load(name: str) -> np.ndarray:
        picture = read_picture(folder, name, MOST_BYTES, MOST_PIXELS).convert("RGB").convert("RGBA")
        picture.thumbnail((2 * KEPT_PX, 2 * KEPT_PX))
        return np.asarray(picture)

    return Pictures(names, load)


def _trimmed(rgba: np.ndarray) -> np.ndarray:
    """A cut-out within the box of its covered pixels, at most ``KEPT_PX`` long."""
    height, width = rgba.shape[:2]
    left, top, right, bottom = silhouette_box(rgba)
    columns = slice(round((left + 1) / 2 * width), round((right + 1) / 2 * width))
    rows = slice(round((top + 1) / 2 * height), round((bottom + 1) / 2 * height))
    picture = Image.fromarray(np.ascontiguousarray(rgba[rows, columns]))
    picture.thumbnail((KEPT_PX, KEPT_PX))
    return np.asarray(picture)


def _words(*texts: str) -> set[str]:
    """Words without their plural s."""
    return {word.lower().rstrip("s") for text in texts for word in text.replace("_", " ").replace("/", " ").split()}
