"""Conditioning grids over [-0.55, 0.55]^3, cell-centred and indexed [x, y, z] (implicit paper, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import GRID_HALF_EXTENT, VoxelEncoding


def grid_points(resolution: int, half_extent: float = GRID_HALF_EXTENT) -> Float32[np.ndarray, "R3 3"]:
    """The centres of a grid's cells, flat in [x, y, z] order: values at them reshape to [R, R, R].

    The centre of cell i along an axis is -half_extent + (i + 0.5) * 2 * half_extent / R.
    """
    if resolution < 1:
        raise ConfigError(f"the grid has resolution {resolution}", "use at least 1")
    axis = ((np.arange(resolution) + 0.5) * (2 * half_extent / resolution) - half_extent).astype(np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def cell_indices(
    points: Any, resolution: int, half_extent: float = GRID_HALF_EXTENT
) -> tuple[Int64[np.ndarray, "N"], np.ndarray]:
    """The flat cell index of each point, and whether the point is in the grid (others have cell -1)."""
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3:
        raise DataError(f"the points have shape {points.shape}", "pass points [N, 3]")
    with np.errstate(invalid="ignore"):
        cells = np.floor((points.astype(np.float64) + half_extent) * (resolution / (2 * half_extent)))
        inside = ((cells >= 0) & (cells < resolution)).all(axis=1)  # false for NaN as well
    flat = np.full(len(points), -1, np.int64)
    x, y, z = cells[inside].astype(np.int64).T
    flat[inside] = (x * resolution + y) * resolution + z
    return flat, inside


@dataclass(frozen=True)
class SparseGrid:
    """A grid stored by its nonempty cells: a fraction of the dense one for points on a surface.

    Attributes:
        cells: flat [x, y, z] indices, ascending, without duplicates.
        values: channels of those cells; every other cell is 0.
        resolution: cells along an edge.
    """

    cells: Int32[np.ndarray, "K"]
    values: Float32[np.ndarray, "K C"]
    resolution: int

    def dense(self) -> Float32[np.ndarray, "C R R R"]:
        grid = np.zeros((self.values.shape[1], self.resolution**3), np.float32)
        grid[:, self.cells] = self.values.T
        return grid.reshape(-1, *(self.resolution,) * 3)

    @property
    def num_bytes(self) -> int:
        return self.cells.nbytes + self.values.nbytes


def voxelize_sparse(points: Any, colors: Any | None, resolution: int, encoding: VoxelEncoding) -> SparseGrid:
    """Bin points into a grid.

    "occupancy" (C = 1): 1 where a cell contains a point. "color_density" (C = 4): the fraction of *all* points that are
    in the cell, then their mean RGB, 0 without points. Points outside of the grid are in no cell but count among all.

    Args:
        points: positions [N, 3], world frame; without points the grid is empty.
        colors: RGB in [0, 1], [N, 3]; needed for "color_density".
        resolution: cells along an edge.
        encoding: "occupancy" or "color_density".

    Raises:
        DataError: missing colours, or not one per point.
    """
    if resolution < 1:
        raise ConfigError(f"the grid has resolution {resolution}", "use at least 1")
    flat, _ = cell_indices(points, resolution)
    return bin_cells(flat, colors, resolution, encoding)


def bin_cells(flat: np.ndarray, colors: Any | None, resolution: int, encoding: VoxelEncoding) -> SparseGrid:
    """Like ``voxelize_sparse``, for points whose cells are known (-1: outside of the grid).

    Args:
        flat: cell indices [N], from ``cell_indices``.
        colors: RGB in [0, 1], [N, 3].
        resolution: cells along an edge.
        encoding: "occupancy" or "color_density".

    Raises:
        DataError: missing colours, or not one per point.
    """
    inside = flat >= 0
    kept = flat if inside.all() else flat[inside]
    if encoding == "occupancy":
        cells = np.unique(kept).astype(np.int32)
        return SparseGrid(cells, np.ones((len(cells), 1), np.float32), resolution)
    shape_of_colors = None if colors is None else np.asarray(colors).shape
    if shape_of_colors != (len(flat), 3):
        raise DataError(
            f"color_density voxels have {len(flat)} points, but colours of shape {shape_of_colors}",
            "pass one RGB per point, or use the occupancy encoding",
        )
    cells, places, counts = np.unique(kept, return_inverse=True, return_counts=True)
    values = np.empty((len(cells), 4), np.float32)
    values[:, 0] = counts / max(1, len(flat))
    picked = np.asarray(colors, np.float64)
    picked = picked if kept is flat else picked[inside]
    for channel in range(3):
        values[:, 1 + channel] = np.bincount(places, picked[:, channel], len(cells)) / counts
    return SparseGrid(cells.astype(np.int32), values, resolution)
