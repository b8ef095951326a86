"""The inside of a shape on a grid over its own bounding box: many fast lookups of one shape under many placements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numba import njit

from raylift.geometry.voxels import grid_points
from raylift.metrics.shape_pair import Shape

BOX_RESOLUTION = 40


@dataclass(frozen=True)
class BoxVolume:
    """A solid, sampled at the cell centres of a grid over its bounding box.

    Attributes:
        low, size: corner and edges of the box, world units; edges of 0 hold nothing.
        inside: indexed [x, y, z].
    """

    low: Float[np.ndarray, "3"]
    size: Float[np.ndarray, "3"]
    inside: Bool[np.ndarray, "R R R"]

    @staticmethod
    def of(shape: Shape, resolution: int = BOX_RESOLUTION) -> BoxVolume:
        """Sample a shape; one without faces is empty."""
        if shape.is_empty:
            return BoxVolume(np.zeros(3), np.zeros(3), np.zeros((resolution,) * 3, bool))
        low, high = shape.surface_vertices.min(axis=0), shape.surface_vertices.max(axis=0)
        centers = low + (grid_points(resolution, 0.5).astype(np.float64) + 0.5) * (high - low)
        return BoxVolume(low, high - low, shape.inside.contains(centers).reshape((resolution,) * 3))

    def overlap(
        self,
        centers: Float[np.ndarray, "N 3"],
        truth: Bool[np.ndarray, "N"],
        turn: Float[np.ndarray, "3 3"],
        offset: Float[np.ndarray, "3"],
    ) -> float:
        """IoU of the placed solid with a true one, at points of the true world.

        Args:
            centers: the points.
            truth: which of them are inside the true solid.
            turn, offset: a point x of the true world is ``(x - offset) @ turn`` in the shape's own.
        """
        per_cell = len(self.inside) / np.maximum(self.size, 1e-12)
        both, either = _count(centers, truth, turn, offset, self.low, per_cell, self.inside)
        return 1.0 if either == 0 else both / either


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _count(
    centers: np.ndarray,
    truth: np.ndarray,
    turn: np.ndarray,
    offset: np.ndarray,
    low: np.ndarray,
    per_cell: np.ndarray,
    inside: np.ndarray,
) -> tuple[int, int]:
    """Points in both solids, and in either: hundreds of placements are tried, each at all voxels of all shapes."""
    both, either = 0, 0
    size = inside.shape[0]
    for n in range(centers.shape[0]):
        x, y, z = centers[n, 0] - offset[0], centers[n, 1] - offset[1], centers[n, 2] - offset[2]
        a = (x * turn[0, 0] + y * turn[1, 0] + z * turn[2, 0] - low[0]) * per_cell[0]
        b = (x * turn[0, 1] + y * turn[1, 1] + z * turn[2, 1] - low[1]) * per_cell[1]
        c = (x * turn[0, 2] + y * turn[1, 2] + z * turn[2, 2] - low[2]) * per_cell[2]
        own = False
        if a >= 0.0 and b >= 0.0 and c >= 0.0 and a < size and b < size and c < size:
            own = bool(inside[int(a), int(b), int(c)])
        both += own and truth[n]
        either += own or truth[n]
    return both, either
