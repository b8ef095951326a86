"""Grids of distances against all distances, and what closes the sides of a cell against a box with an open lid."""

from __future__ import annotations

import pytest
import torch

from raylift.geometry.distance_grids import distance_grid, nearest_on_the_way_out
from raylift.geometry.voxels import grid_points


@pytest.mark.parametrize(("resolution", "reach"), [(16, 0.05), (24, 0.17), (8, 3.0)])
def test_distances_are_the_least_of_all_up_to_the_reach(resolution: int, reach: float) -> None:
    """Some points lie beside the grid, some of them too far to matter."""
    points = 0.5 * torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    cells = torch.from_numpy(grid_points(resolution))
    least = (cells[:, None] - points).norm(dim=-1).amin(1).clamp(max=reach)
    found = distance_grid(points, resolution, reach)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.flatten(), least, rtol=0, atol=1e-6)


def test_what_closes_the_sides_of_a_cell() -> None:
    """A box around the origin, open at +y: from within all but that side are closed."""
    axis = torch.linspace(-0.3, 0.3, 61)
    sheet = torch.cartesian_prod(axis, axis)
    side = torch.full_like(sheet[:, :1], 0.3)
    walls = [torch.cat([sheet, side], 1), torch.cat([sheet, -side], 1)]
    walls += [wall[:, [2, 0, 1]] for wall in walls]
    walls += [torch.cat([sheet[:, :1], -side, sheet[:, 1:]], 1)]
    grid = distance_grid(torch.cat(walls), 22, 0.1)
    closed = nearest_on_the_way_out(grid) < 0.03
    assert closed.shape == (6, 22, 22, 22)
    assert closed[:, 10, 10, 10].tolist() == [True, True, True, False, True, True]
    assert closed[:, 1, 10, 10].tolist() == [False, True, False, False, False, False]
    assert closed[:, 10, 1, 10].tolist() == [False, False, False, True, False, False]
    two = nearest_on_the_way_out(torch.stack([grid, grid.flip(0)]))
    torch.testing.assert_close(two[1], two[0][[1, 0, 2, 3, 4, 5]].flip(1))
