"""Groups of rotations and reflections that map a grid onto itself, and how they act on volumes and fields."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from raylift.core.errors import ConfigError

GroupName = Literal["none", "mirror", "c4v", "o", "oh"]
KERNEL = 3
"""Edge of every kernel: odd, so that its centre is a cell."""


@dataclass(frozen=True)
class GridGroup:
    """A finite group of signed permutation matrices: exact symmetries of a cell-centred cubic grid.

    Attributes:
        name: "none" (the identity only), "mirror" (left-right, x -> -x), "c4v" (quarter turns about the vertical axis
            y, and vertical mirrors), "o" (the 24 rotations of a cube) or "oh" (with reflections, 48).
        matrices: the elements; the first is the identity.
        product: index of the element ``a @ b``.
        inverse: index of the inverse.
        kernel_cells: for element g and cell k of a kernel, the flat index of cell g^-1 k.
        orbits: number of each cell's orbit; cells that the group maps onto each other share it.
    """

    name: GroupName
    matrices: Int[np.ndarray, "G 3 3"]
    product: Int[np.ndarray, "G G"]
    inverse: Int[np.ndarray, "G"]
    kernel_cells: Int[Tensor, "G K3"]
    orbits: Int[Tensor, "K3"]

    def __len__(self) -> int:
        return len(self.matrices)

    @property
    def num_orbits(self) -> int:
        return int(self.orbits.max()) + 1

    @property
    def has_mirror(self) -> bool:
        """Whether x -> -x is an element."""
        return any(np.array_equal(matrix, MIRROR) for matrix in self.matrices)


MIRROR = np.diag([-1, 1, 1])
"""Left and right exchanged: an object faces +Z with Y up, so that is x."""


@cache
def grid_group(name: GroupName) -> GridGroup:
    """The group of that name, with its tables.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in get_args(GroupName):
        raise ConfigError(f"there is no group {name!r}", f"use one of {', '.join(get_args(GroupName))}")
    matrices = np.stack([matrix for matrix in _signed_permutations() if _belongs(matrix, name)])
    # The identity first; the order of the others is arbitrary but fixed.
    first = next(index for index, matrix in enumerate(matrices) if np.array_equal(matrix, np.eye(3)))
    matrices = np.concatenate([matrices[first : first + 1], np.delete(matrices, first, 0)])
    index_of = {matrix.tobytes(): index for index, matrix in enumerate(matrices)}
    product_table = np.array([[index_of[(a @ b).tobytes()] for b in matrices] for a in matrices])
    inverse = np.array([index_of[np.ascontiguousarray(matrix.T).tobytes()] for matrix in matrices])
    cells = torch.arange(KERNEL**3).reshape(KERNEL, KERNEL, KERNEL)
    moved = torch.stack([act_on_volume(matrix, cells).flatten() for matrix in matrices])
    # A cell's orbit is named by its smallest cell, then numbered from 0.
    _, orbits = torch.unique(moved.min(0).values, return_inverse=True)
    return GridGroup(name, matrices, product_table, inverse, moved, orbits)


def act_on_volume(matrix: Int[np.ndarray, "3 3"], volume: Tensor) -> Tensor:
    """(g v)(p) = v(g^-1 p) for a signed permutation g; the last three axes are x, y, z, centred on the origin."""
    # g maps axis j to axis target[j], with a sign: the moved volume's axis target[j] is the old axis j.
    target = np.abs(matrix).argmax(0)
    reversed_axes = [axis - 3 for axis in range(3) if matrix[target[axis], axis] < 0]
    source = np.argsort(target)
    lead = range(volume.ndim - 3)
    return volume.flip(reversed_axes).permute(*lead, *(volume.ndim - 3 + int(axis) for axis in source))


def _signed_permutations() -> list[Int[np.ndarray, "3 3"]]:
    """The 48 symmetries of a cube."""
    return [
        np.eye(3, dtype=np.int64)[list(order)] * np.array(signs)[:, None]
        for order in permutations(range(3))
        for signs in product((1, -1), repeat=3)
    ]


def _belongs(matrix: Int[np.ndarray, "3 3"], name: GroupName) -> bool:
    if name == "none":
        return np.array_equal(matrix, np.eye(3))
    if name == "mirror":
        return np.array_equal(matrix, np.eye(3)) or np.array_equal(matrix, MIRROR)
    if name == "c4v":
        return int(matrix[1, 1]) == 1
    return name == "oh" or round(float(np.linalg.det(matrix))) == 1
