"""Reading maps and volumes at points: affine fields are read exactly, SciPy agrees, borders hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from raylift.core.types import GRID_HALF_EXTENT
from raylift.networks.point_sampling import sample_map, sample_volume


def _pixel_centers(count: int) -> torch.Tensor:
    return (2 * torch.arange(count, dtype=torch.float64) + 1) / count - 1


def _cell_centers(count: int) -> torch.Tensor:
    return -GRID_HALF_EXTENT + (torch.arange(count, dtype=torch.float64) + 0.5) * 2 * GRID_HALF_EXTENT / count


def test_affine_map_is_read_exactly() -> None:
    """u runs along columns, v down the rows: a map of 2 u + 3 v + 1 reads the same anywhere between pixel centres."""
    v, u = torch.meshgrid(_pixel_centers(6), _pixel_centers(9), indexing="ij")
    uv = (torch.rand(1, 50, 2, dtype=torch.float64) * 2 - 1) * 0.8
    values = sample_map((2 * u + 3 * v + 1)[None, None], uv)
    torch.testing.assert_close(values[0, :, 0], 2 * uv[0, :, 0] + 3 * uv[0, :, 1] + 1)


def test_affine_volume_is_read_exactly() -> None:
    """Volumes are indexed [x, y, z] and cover [-0.55, 0.55]^3."""
    x, y, z = torch.meshgrid(_cell_centers(5), _cell_centers(6), _cell_centers(7), indexing="ij")
    points = (torch.rand(1, 60, 3, dtype=torch.float64) * 2 - 1) * 0.43
    values = sample_volume((x + 10 * y - 4 * z)[None, None], points)
    expected = points[..., 0] + 10 * points[..., 1] - 4 * points[..., 2]
    torch.testing.assert_close(values[..., 0], expected)


def test_places_are_exact_under_mixed_precision() -> None:
    """Maps are bfloat16 under autocast, places are not: a ramp that bfloat16 holds exactly tells where it was read."""
    ramp, places = torch.arange(64, dtype=torch.bfloat16), torch.rand(1, 200, 3) * 1.8 - 0.9
    with torch.autocast("cpu", dtype=torch.bfloat16):
        columns = sample_map(ramp.expand(1, 1, 8, 64), places[..., :2])
        layers = sample_volume(ramp[:, None, None].expand(1, 1, 64, 4, 4), places * GRID_HALF_EXTENT)
    for read, place in ((columns, places[..., :1]), (layers, places[..., :1])):
        assert read.dtype == torch.float32
        torch.testing.assert_close((2 * read + 1) / 64 - 1, place, rtol=0.0, atol=1e-5)


def test_volume_equals_scipy_with_its_border() -> None:
    rng = np.random.default_rng(0)
    volume, points = rng.normal(size=(2, 3, 8, 8, 8)), rng.uniform(-0.8, 0.8, size=(2, 40, 3))
    values = sample_volume(torch.from_numpy(volume), torch.from_numpy(points)).numpy()
    index = (points / GRID_HALF_EXTENT + 1) * 4 - 0.5
    for b in range(2):
        for c in range(3):
            expected = map_coordinates(volume[b, c], index[b].T, order=1, mode="nearest")
            np.testing.assert_allclose(values[b, :, c], expected, atol=1e-12)


def test_samples_keep_to_their_own_map() -> None:
    maps = torch.tensor([1.0, 2.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert sample_map(maps, torch.zeros(2, 3, 2))[..., 0].tolist() == [[1.0] * 3, [2.0] * 3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32), min_size=2, max_size=2))
def test_any_coordinate_reads_something_finite(uv: list[float]) -> None:
    features = torch.rand(1, 2, 5, 5)
    values = sample_map(features, torch.tensor([[uv]]))
    assert bool(((values >= 0) & (values <= 1)).all())


def test_gradients() -> None:
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    uv = (torch.rand(1, 3, 2, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(sample_map, (maps, uv))
    volume = torch.randn(1, 2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    points = ((torch.rand(1, 3, 3, dtype=torch.float64) - 0.5) * 0.6).requires_grad_()
    assert torch.autograd.gradcheck(sample_volume, (volume, points))


@pytest.mark.parametrize("shape", [(2, 5, 6, 7, 8), (1, 33, 1, 2, 4), (3, 1, 4, 4, 4)])
def test_reading_volumes_without_a_gradient_changes_no_bit(shape: tuple[int, ...]) -> None:
    """On and beyond the border too; whether a gradient is asked for decides who reads, not what is read."""
    volumes = torch.randn(shape)
    points = 1.4 * torch.rand(shape[0], 5000, 3) - 0.7
    points[:, :3] = torch.tensor([[-GRID_HALF_EXTENT], [GRID_HALF_EXTENT], [0.0]])
    expected = sample_volume(volumes, points)
    with torch.no_grad():
        found = sample_volume(volumes, points)
        assert torch.equal(found, expected)
        assert found.is_contiguous()
        assert sample_volume(volumes, points[:, :0]).shape == (shape[0], 0, shape[1])
        double = sample_volume(volumes.double(), points.double())
    torch.testing.assert_close(double.float(), expected)
