"""The solid of DISN's evaluator: the corners of the voxels that its surface touches or encloses, on a lattice.

DISN (Xu et al. 2019, its evaluation of IoU) marks voxels of edge 2/110 that the surface touches, fills their cavities,
and then rounds the voxels' *corners* down onto a lattice of 2.4/110 that starts at -1.1. The result is the solid, wider
by about a voxel on every side, so two shapes overlap more than as solids.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from raylift.geometry.touched_cells import fill_cavities, touched_cells

CELLS_ACROSS = 110
"""Voxels over the diameter of the unit sphere, and lattice points over 2.4."""

_LIMIT_IN_RADII = 2
"""Bound beyond which cells are ignored; the lattice itself ends at -1.1 and 1.3, where DISN's code fails."""


@dataclass(frozen=True)
class CornerLattice:
    """Occupied points of the lattice.

    Attributes:
        first: lattice index of the array's first point, per axis.
        occupied: occupancy, indexed [x, y, z].
    """

    first: Int64[np.ndarray, "3"]
    occupied: Bool[np.ndarray, "X Y Z"]

    def iou(self, other: CornerLattice) -> float:
        """Intersection over union of the points, in [0, 1]."""
        low = np.maximum(self.first, other.first)
        high = np.minimum(self.first + self.occupied.shape, other.first + other.occupied.shape)
        common = 0
        if bool((high > low).all()):
            mine, theirs = (
                one.occupied[tuple(slice(a, b) for a, b in zip(low - one.first, high - one.first, strict=True))]
                for one in (self, other)
            )
            common = int(np.count_nonzero(mine & theirs))
        return common / (int(self.occupied.sum()) + int(other.occupied.sum()) - common)


def corner_lattice(
    vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], cells_across: int = CELLS_ACROSS
) -> CornerLattice:
    """Compute the lattice of a mesh.

    A corner may fall exactly on a border between lattice points; there DISN's own rounding depends on the mesh. Here it
    is rounded exactly, to the point above the border.

    Args:
        vertices: vertices in the unit sphere (``metrics.shape_pair.TargetShape.unit_sphere``).
        faces: faces, at least one.
        cells_across: see ``CELLS_ACROSS``.
    """
    touched, first = touched_cells(vertices, faces, 2.0 / cells_across, _LIMIT_IN_RADII * cells_across // 2)
    solid = fill_cavities(touched)
    # Corner c of an axis is between the cells c - 1 and c; with the margin of empty cells the outermost is omitted.
    corners = solid[1:] | solid[:-1]
    corners = corners[:, 1:] | corners[:, :-1]
    corners = corners[:, :, 1:] | corners[:, :, :-1]
    places = np.empty(3, np.int64)
    for axis in range(3):
        # The corner is at (k + 1/2) 2/n, its point floor((that + 1.1) n / 2.4): in integers, hence exact.
        k = first[axis] + np.arange(corners.shape[axis])
        place = (10 * (2 * k + 1) + 11 * cells_across) // 24
        starts = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
        corners = np.logical_or.reduceat(corners, starts, axis=axis)
        places[axis] = place[0]
    return CornerLattice(places, corners)
