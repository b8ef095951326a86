"""Grids of distances to a cloud of points, exact up to a limit, and how enclosed each cell is."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.nearest_points import CHUNK
from raylift.geometry.voxels import grid_points

NUM_SIDES = 6


@torch.no_grad()
def distance_grid(points: Float[Tensor, "N 3"], resolution: int, reach: float) -> Float[Tensor, "R R R"]:
    """The distance from each cell's centre to the nearest point, at most ``reach``.

    On a CPU, points visit the cells around them, which is several times faster than a nearest-point search per cell if
    ``reach`` is a few cells; on a GPU, all distances are computed.

    Args:
        points: points in the world frame, at least one.
        resolution: cells along an edge, over [-0.55, 0.55]^3, indexed [x, y, z].
        reach: largest distance, world units.
    """
    if points.device.type == "cpu":
        squared = np.full((resolution,) * 3, reach * reach, np.float64)
        _visit_cells(points.detach().double().numpy(), GRID_HALF_EXTENT, 2 * GRID_HALF_EXTENT / resolution, squared)
        return torch.from_numpy(np.sqrt(squared)).to(points.dtype)
    cells = torch.from_numpy(grid_points(resolution)).to(points)
    parts = [
        torch.cdist(part, points, compute_mode="donot_use_mm_for_euclid_dist").amin(1) for part in cells.split(CHUNK)
    ]
    return torch.cat(parts).clamp(max=reach).reshape((resolution,) * 3)


def nearest_on_the_way_out(grid: Float[Tensor, "*B R R R"]) -> Float[Tensor, "*B 6 R R R"]:
    """The least value between a cell and the border, along both directions of each axis: -x, +x, -y, +y, -z, +z.

    For a grid of distances to a surface it is 0 where the surface closes that side. A cell within a closed surface is
    closed on all sides.
    """
    sides = []
    for axis in (-3, -2, -1):
        sides.append(grid.cummin(axis).values)
        sides.append(grid.flip(axis).cummin(axis).values.flip(axis))
    return torch.stack(sides, -4)


@njit(cache=True, nogil=True)
def _visit_cells(points, half_extent, cell, squared):  # type: ignore[no-untyped-def]
    """Lower ``squared`` to each point's squared distance, in the box of cells within its reach."""
    resolution = squared.shape[0]
    reach = math.sqrt(squared[0, 0, 0])
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for index in range(points.shape[0]):
        for axis in range(3):
            place = (points[index, axis] + half_extent) / cell - 0.5
            low[axis] = max(0, math.ceil(place - reach / cell))
            high[axis] = min(resolution - 1, math.floor(place + reach / cell))
        for i in range(low[0], high[0] + 1):
            dx = (i + 0.5) * cell - half_extent - points[index, 0]
            for j in range(low[1], high[1] + 1):
                dy = (j + 0.5) * cell - half_extent - points[index, 1]
                for k in range(low[2], high[2] + 1):
                    dz = (k + 0.5) * cell - half_extent - points[index, 2]
                    distance = dx * dx + dy * dy + dz * dz
                    if distance < squared[i, j, k]:
                        squared[i, j, k] = distance
