"""Conditioning grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.voxels import cell_indices, grid_points, voxelize_sparse


def test_every_cell_holds_its_own_centre() -> None:
    points = grid_points(7)
    flat, inside = cell_indices(points, 7)
    assert inside.all()
    np.testing.assert_array_equal(flat, np.arange(343))
    np.testing.assert_allclose(points[0], -GRID_HALF_EXTENT + 0.55 / 7, rtol=1e-6)
    np.testing.assert_allclose(points[1] - points[0], [0, 0, 1.1 / 7], atol=1e-6)


def test_grid_sample_reads_a_grid_at_z_y_x() -> None:
    points = torch.from_numpy(grid_points(5))
    values = torch.sin(3 * points[:, 0]) + points[:, 1] ** 2 - 2 * points[:, 2]
    where = (points[:, [2, 1, 0]] / GRID_HALF_EXTENT).reshape(1, -1, 1, 1, 3)
    read = torch.nn.functional.grid_sample(values.reshape(1, 1, 5, 5, 5), where, align_corners=False)
    torch.testing.assert_close(read.flatten(), values)


def test_color_density_by_hand() -> None:
    points = [[-0.5, -0.5, -0.5], [-0.4, -0.4, -0.4], [0.3, -0.3, 0.3], [0.6, 0.0, 0.0]]
    colors = [[1.0, 0, 0], [0, 1.0, 0], [0.2, 0.4, 0.6], [1, 1, 1]]
    grid = voxelize_sparse(points, colors, 2, "color_density").dense()
    assert grid.shape == (4, 2, 2, 2)
    assert grid.dtype == np.float32
    np.testing.assert_allclose(grid[:, 0, 0, 0], [0.5, 0.5, 0.5, 0])
    np.testing.assert_allclose(grid[:, 1, 0, 1], [0.25, 0.2, 0.4, 0.6])
    assert grid[0].sum() == pytest.approx(0.75), "the point outside counts among all"
    np.testing.assert_array_equal(voxelize_sparse(points, None, 2, "occupancy").dense()[0], grid[0] > 0)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(0, 30), st.just(3)), elements=st.floats(width=32)))
def test_any_points_give_a_sound_grid(points: np.ndarray) -> None:
    grid = voxelize_sparse(points, np.full(points.shape, 0.5), 4, "color_density").dense()
    assert np.isfinite(grid).all()
    with np.errstate(invalid="ignore"):
        sure = (np.abs(points) < GRID_HALF_EXTENT * 0.999).all(axis=1).sum() if len(points) else 0
    assert grid[0].sum() * max(1, len(points)) >= sure - 1e-4
    assert set(np.unique(grid[1:])) <= {0.0, 0.5}


def test_bad_requests_are_refused() -> None:
    with pytest.raises(DataError, match="colours"):
        voxelize_sparse(np.zeros((3, 3)), None, 4, "color_density")
    with pytest.raises(DataError, match="colours"):
        voxelize_sparse(np.zeros((3, 3)), np.zeros((2, 3)), 4, "color_density")
    with pytest.raises(DataError, match="points"):
        voxelize_sparse(np.zeros((3, 2)), None, 4, "occupancy")
    with pytest.raises(ConfigError, match="resolution"):
        voxelize_sparse(np.zeros((3, 3)), None, 0, "occupancy")
    with pytest.raises(ConfigError, match="resolution"):
        grid_points(0)
