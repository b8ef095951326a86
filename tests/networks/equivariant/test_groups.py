"""The groups are groups, and act as such."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.geometry.voxels import grid_points
from raylift.networks.equivariant.groups import MIRROR, GroupName, grid_group
from tests.networks.equivariant.moving import move, move_fields

SIZES: dict[GroupName, int] = {"none": 1, "mirror": 2, "c4v": 8, "o": 24, "oh": 48}
ORBITS: dict[GroupName, int] = {"none": 27, "mirror": 18, "c4v": 9, "o": 4, "oh": 4}
"""Kinds of cells in a 3^3 kernel: for a cube its centre, faces, edges and corners."""
each_group = pytest.mark.parametrize("name", list(SIZES))


@each_group
def test_elements_are_closed_with_inverses_and_orthonormal(name: GroupName) -> None:
    group = grid_group(name)
    assert len(group) == SIZES[name]
    assert len({matrix.tobytes() for matrix in group.matrices}) == SIZES[name]
    for a, matrix in enumerate(group.matrices):
        np.testing.assert_array_equal(matrix @ matrix.T, np.eye(3))
        np.testing.assert_array_equal(matrix @ group.matrices[group.inverse[a]], np.eye(3))
        for b, other in enumerate(group.matrices):
            np.testing.assert_array_equal(group.matrices[group.product[a, b]], matrix @ other)
    np.testing.assert_array_equal(group.matrices[0], np.eye(3))
    assert group.num_orbits == ORBITS[name]
    assert group.has_mirror == (name in ("mirror", "c4v", "oh"))


def test_what_each_group_holds() -> None:
    assert (np.linalg.det(grid_group("o").matrices).round() == 1).all(), "rotations only"
    assert (grid_group("c4v").matrices[:, 1, 1] == 1).all(), "up stays up"
    np.testing.assert_array_equal(grid_group("mirror").matrices[1], MIRROR)
    with pytest.raises(ConfigError, match="no group 'so3'"):
        grid_group("so3")  # type: ignore[arg-type]


@each_group
@pytest.mark.parametrize("size", [4, 5])
def test_acting_moves_what_is_at_p_to_gp(name: GroupName, size: int) -> None:
    group = grid_group(name)
    centers = grid_points(size)
    volume = torch.randn(2, size, size, size)
    for element, matrix in enumerate(group.matrices):
        moved = move(group, element, volume).reshape(2, -1)
        # Where g p is among the centres.
        target = np.abs((centers @ matrix.T)[:, None] - centers).sum(-1).argmin(1)
        torch.testing.assert_close(moved[:, target], volume.reshape(2, -1), atol=0, rtol=0)


@each_group
def test_acting_twice_is_acting_with_the_product(name: GroupName) -> None:
    group = grid_group(name)
    fields = torch.randn(1, 2 * len(group), 3, 3, 3)
    for a, b in ((1, 2), (5, 3), (7, 7), (40, 20)):
        a, b = a % len(group), b % len(group)
        twice = move_fields(group, a, move_fields(group, b, fields))
        assert torch.equal(twice, move_fields(group, int(group.product[a, b]), fields))
