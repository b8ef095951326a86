"""Precomputed part maps: a folder with one file per image, named by the image's id.

Files are ``ID.png`` or ``ID.npy``; an id with slashes is a path: ``birds/crow`` is ``birds/crow.png``.

* labels: a greyscale or palette PNG, or an integer array [H, W]; 0 is the background;
* probabilities: an array [P, H, W], float in [0, 1] or uint8 of 0 to 255, the background first.

Maps cover the original image, at any resolution, or the stored square.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from raylift.core.errors import DataError
from raylift.core.inputs import limits
from raylift.core.inputs.arrays import read_npy
from raylift.core.inputs.limits import read_file
from raylift.core.inputs.pictures import READ_ERRORS, SMALLER, open_picture
from raylift.data.images.record import ImageRecord
from raylift.data.store.annotations import PartEncoding
from raylift.data.store.dataset import ShardedDataset
from raylift.geometry.cameras import pixel_centers

Cover = Literal["original", "square"]
PROBLEMS_SHOWN = 8
MOST_LABELS = 255


@dataclass(frozen=True)
class PrecomputedMaps:
    """A folder of part maps, each read once and checked.

    Attributes:
        folder: folder of the layout above.
        cover: area that each map covers: the original image or the stored square.
        names: part names, the background first.
        encoding: labels or probabilities; the same for all maps.
    """

    folder: Path
    cover: Cover
    names: tuple[str, ...]
    encoding: PartEncoding
    files: tuple[str, ...]

    @staticmethod
    def open(
        folder: str | Path, dataset: ShardedDataset, cover: Cover = "original", names: Sequence[str] = ()
    ) -> PrecomputedMaps:
        """Read and check every map that the data set needs.

        Args:
            dataset: image collection that the maps belong to; every image needs one.
            names: part names, the background first (default: "background", "part 1", ...).

        Raises:
            DataError: no folder, a missing or unreadable map (the first few are named), a mix of both encodings, or
                more parts than names.
        """
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"there is no folder {root}", "pass the folder that holds the part maps")
        problems, files, counts, kinds = [], [], {}, {}
        for entry in dataset.entries():
            try:
                path = _file_of(root, entry.id)
                maps = _read(path)
            except DataError as error:
                problems.append(error.problem)
                continue
            files.append(path.relative_to(root).as_posix())
            kinds[entry.id] = "labels" if maps.ndim == 2 else "probabilities"
            counts[entry.id] = int(maps.max()) + 1 if maps.ndim == 2 else len(maps)
        if problems:
            listed = "; ".join(problems[:PROBLEMS_SHOWN])
            more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
            raise DataError(
                f"{len(problems)} of {len(dataset.entries())} images have no usable part map: {listed}{more}",
                f"provide {root}/ID.png with labels or ID.npy with probabilities for every image",
            )
        if len(set(kinds.values())) > 1:
            first = {kind: next(name for name in kinds if kinds[name] == kind) for kind in sorted(set(kinds.values()))}
            raise DataError(
                f"{root} mixes labels ({first['labels']}) and probabilities ({first['probabilities']})",
                "use one of the two",
            )
        encoding: PartEncoding = "labels" if "labels" in kinds.values() else "probabilities"
        return PrecomputedMaps(root, cover, _names(names, counts, encoding), encoding, tuple(files))

    @cached_property
    def digest(self) -> str:
        """Digest of all files' contents: part of the new data set's fingerprint."""
        total = hashlib.sha256()
        for name in self.files:
            total.update(name.encode() + hashlib.sha256((self.folder / name).read_bytes()).digest())
        return total.hexdigest()[:16]

    def __call__(self, record: ImageRecord) -> np.ndarray:
        """The maps of an image over its stored square, as ``data.images.part_maps.write_part_maps`` takes them.

        The part of the square outside of the original is background.
        """
        maps = _read(_file_of(self.folder, record.id))
        grid = _grid(record, self.cover)[None]
        if self.encoding == "labels":
            # Labels are picked from the nearest pixel, never interpolated; 0 is the background.
            picked = torch.nn.functional.grid_sample(
                torch.from_numpy(maps.astype(np.float32))[None, None], grid, mode="nearest", align_corners=False
            )[0]
            return picked.to(torch.uint8).numpy()
        placed = torch.nn.functional.grid_sample(torch.from_numpy(maps[1:])[None], grid, align_corners=False)[0]
        filled = torch.cat([1 - placed.sum(dim=0, keepdim=True), placed])
        return (255 * filled).round().clamp(0, 255).to(torch.uint8).numpy()


def _grid(record: ImageRecord, cover: Cover) -> torch.Tensor:
    """Position of each pixel of the stored square in the map, in the map's normalised coordinates."""
    side = record.rgba.shape[0]
    pixels = pixel_centers(side, side)
    if cover == "square":
        return pixels
    left, top, right, bottom = record.crop_box
    corner, extent = torch.tensor([left, top]), torch.tensor([right - left, bottom - top])
    return 2 * (corner + (pixels + 1) / 2 * extent) / torch.tensor(record.original_size) - 1


def _file_of(root: Path, image_id: str) -> Path:
    found = [path for suffix in (".png", ".npy") if (path := root / f"{image_id}{suffix}").is_file()]
    if len(found) != 1:
        raise DataError(f"{image_id} has {'two maps' if found else 'no map'}", "provide exactly one")
    return found[0]


def _read(path: Path) -> np.ndarray:
    """uint8 labels [H, W], or float32 probabilities [P, H, W] that add up to 1."""
    data = read_file(path, limits.MAP_BYTES, SMALLER)
    if path.suffix == ".npy":
        maps = read_npy(data, path.name, limits.MAP_BYTES)
    else:
        image = open_picture(data, path.name)
        if image.mode not in ("L", "P", "1", "I", "I;16"):
            raise DataError(f"{path.name} is a colour image ({image.mode})", "store labels")
        try:
            maps = np.asarray(image).astype(np.int64)
        except READ_ERRORS as error:
            raise DataError(f"{path.name} cannot be read: {error}", "save it again") from error
    if maps.size and maps.ndim == 2 and maps.dtype.kind in "iu":
        if maps.min() < 0 or maps.max() > MOST_LABELS:
            raise DataError(f"{path.name} has labels from {maps.min()} to {maps.max()}", "use labels of 0 to 255")
        return maps.astype(np.uint8)
    if maps.size and maps.ndim == 3 and len(maps) > 1 and (maps.dtype.kind == "f" or maps.dtype == np.uint8):
        values = maps.astype(np.float32) / (255 if maps.dtype == np.uint8 else 1)
        total = values.sum(axis=0)
        # With eight bits, each part may be off by half a step.
        if not np.isfinite(values).all() or values.min() < -1e-3 or abs(total - 1).max() > 0.02:
            raise DataError(f"the probabilities in {path.name} do not add up to 1", "normalise over the parts")
        return values
    raise DataError(f"{path.name} is {maps.dtype} {maps.shape}", "use integer labels [H, W] or probabilities [P, H, W]")


def _names(names: Sequence[str], counts: dict[str, int], encoding: PartEncoding) -> tuple[str, ...]:
    most, fewest = max(counts.values()), min(counts.values())
    if encoding == "probabilities" and most != fewest:
        raise DataError(f"images have from {fewest} to {most} parts", "use the same parts for every image")
    if names and (most > len(names) or (encoding == "probabilities" and most != len(names))):
        worst = max(counts, key=lambda name: counts[name])
        raise DataError(
            f"{worst} has {most} parts with the background, but there are {len(names)} names",
            "name each part, the background first",
        )
    return tuple(names) or ("background", *(f"part {index}" for index in range(1, most)))
