"""A solid as DISN's evaluator sees it: the corners of the voxels that its surface touches or encloses, on a lattice.

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
"""Voxels over the diameter of the unit sphere, and lattice places over 2.4."""

_LIMIT_IN_RADII = 2
"""What lies further out is left out; the lattice itself ends at -1.1 and 1.3, where DISN's code fails."""


@dataclass(frozen=True)
class CornerLattice:
    """Occupied places of the lattice.

    Attributes:
        first: lattice index of the array's first place, by axis.
        occupied: [x, y, z].
    """

    first: Int64[np.ndarray, "3"]
    occupied: Bool[np.ndarray, "X Y Z"]

    def iou(self, other: CornerLattice) -> float:
        """Intersection over union of the places, in [0, 1]."""
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
    """The lattice of a mesh.

    A corner may fall exactly on a place's border; there DISN's own rounding depends on the mesh. Here it is rounded
    exactly, so the place above the border has it.

    Args:
        vertices: in the unit sphere (``metrics.comparison.Truth.unit_sphere``).
        faces: at least one.
        cells_across: see ``CELLS_ACROSS``.
    """
    touched, first = touched_cells(vertices, faces, 2.0 / cells_across, _LIMIT_IN_RADII * cells_across // 2)
    solid = fill_cavities(touched)
    # Corner c of an axis lies between the cells c - 1 and c; the margin of empty cells leaves the outermost one off.
    corners = solid[1:] | solid[:-1]
    corners = corners[:, 1:] | corners[:, :-1]
    corners = corners[:, :, 1:] | corners[:, :, :-1]
    places = np.empty(3, np.int64)
    for axis in range(3):
        # The corner is at (k + 1/2) 2/n, its place floor((that + 1.1) n / 2.4): in whole numbers, hence exact.
        k = first[axis] + np.arange(corners.shape[axis])
        place = (10 * (2 * k + 1) + 11 * cells_across) // 24
        starts = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
        corners = np.logical_or.reduceat(corners, starts, axis=axis)
        places[axis] = place[0]
    return CornerLattice(places, corners)
