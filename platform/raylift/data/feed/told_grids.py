"""Checks conditioning grids against stored inside/outside points before training, to find grids in another frame.

Training would silently accept a grid written with its axes in another order, mirrored, with flipped signs, or over
another extent. Points that are known to be inside or outside reveal it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import numpy as np

from raylift.core.errors import DataError
from raylift.core.types import GRID_HALF_EXTENT, VoxelSource
from raylift.data.shapes.record import load_object
from raylift.data.shapes.schema import GRID_RESOLUTION
from raylift.data.store.dataset import ShardedDataset

OBJECTS_COMPARED = 3
MARGIN = 0.1
"""IoU by which another frame must beat the stored one before a grid is rejected."""
LEAST_IOU = 0.05
"""IoU with the points below which grids are rejected even if no other frame explains it. True grids of 59 seats reach
0.78 on average, thin ones 0.28; another frame is better by 0.014 at most (symmetry)."""
_MOST_POINTS = 20_000
_REMEDY = (
    f"grids are indexed [x, y, z] at the centres of {GRID_RESOLUTION}^3 cells over [-{GRID_HALF_EXTENT}, "
    f"{GRID_HALF_EXTENT}]^3, negative (or 1) inside: prepare the data set again with raylift prepare"
)


def check_told_grids(dataset: ShardedDataset, source: VoxelSource, object_ids: list[str]) -> None:
    """Compare the conditioning grids of a few objects with their IoU points.

    Args:
        source: "gt_occupancy" or "gt_sdf"; other sources have no stored grids and are not checked.
        object_ids: objects to check; only the first few are read.

    Raises:
        DataError: all of them fit better in another frame, none fits at all, or values are not finite.
    """
    if source not in ("gt_occupancy", "gt_sdf"):
        return
    column = "occupancy32" if source == "gt_occupancy" else "sdf32"
    found: list[tuple[float, float, str]] = []
    for object_id in object_ids[:OBJECTS_COMPARED]:
        record = load_object(dataset, object_id, (column, "iou_points", "iou_inside"))
        grid = record.array(column)
        if not np.isfinite(grid).all():
            raise DataError(f"the {column} of {object_id} is not finite", _REMEDY)
        inside = grid > 0.5 if source == "gt_occupancy" else grid < 0
        points, truth = record.iou_points[:_MOST_POINTS], record.iou_inside[:_MOST_POINTS]
        if truth.sum() < 20:
            continue  # too thin to decide
        own = _iou(_read(inside, points), truth)
        best, words = max((_iou(other, truth), words) for words, other in _other_frames(inside, points))
        found.append((own, best, words))
    if not found:
        return
    own, best, words = max(found)
    if all(other > told + MARGIN for told, other, _ in found):
        raise DataError(
            f"the conditioning grids of {dataset.uri} are in another frame: their IoU with the inside/outside points "
            f"is {own:.2f}, but {best:.2f} when {words}",
            _REMEDY,
        )
    if own < LEAST_IOU:
        raise DataError(
            f"the conditioning grids of {dataset.uri} do not show its shapes: IoU {own:.2f} with inside/outside points",
            _REMEDY,
        )


def _other_frames(inside: np.ndarray, points: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Occupancy at the points for every other interpretation of the grid, each with a description."""
    axes = "xyz"
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            if order == (0, 1, 2) and signs == (1, 1, 1):
                continue
            names = [("-" if sign < 0 else "") + axes[axis] for axis, sign in zip(order, signs, strict=True)]
            yield (
                f"its axes are read as {', '.join(names)}",
                _read(inside, points[:, order] * np.array(signs, np.float32)),
            )
    yield "inside and outside are swapped", ~_read(inside, points)
    for extent in (0.5, 1.0):
        yield f"it covers [-{extent}, {extent}]^3", _read(inside, points, extent)


def _read(inside: np.ndarray, points: np.ndarray, half_extent: float = GRID_HALF_EXTENT) -> np.ndarray:
    """The nearest cell's value at each point; False outside of the grid."""
    cells = np.floor((points / half_extent + 1) / 2 * len(inside)).astype(np.int64)
    within = ((cells >= 0) & (cells < len(inside))).all(axis=1)
    x, y, z = cells.clip(0, len(inside) - 1).T
    read: np.ndarray = inside[x, y, z] & within
    return read


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))
