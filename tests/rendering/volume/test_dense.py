"""The dense renderer against closed forms, and a sum written out for one pixel."""

from __future__ import annotations

import math

import pytest
import torch

from raylift.geometry.cameras import orthographic_views
from raylift.rendering.volume.grid import VolumeGrid, VolumeKind
from raylift.rendering.volume.rays import sample_rays
from tests.rendering.volume.scenes import cameras, random_grid, render_densely


def test_a_uniform_fog_in_closed_form() -> None:
    """Absorption along an axis: 1 - exp(-density * length), where the field is constant between cell centres."""
    density = torch.full((1, 8, 8, 8), 0.7, dtype=torch.float64)
    features = torch.full((1, 2, 8, 8, 8), 3.0, dtype=torch.float64)
    front = orthographic_views(torch.tensor([[0.0, 0.0, 1.0]]), 0.55).to("cpu", torch.float64)
    seen = render_densely(VolumeGrid(density, features), front, 4, 64)
    # Half a cell at both ends fades to half: 15 / 16 of the optical depth.
    length = 1.1 * (1 - 1 / 8 * 1 / 4)
    expected = 1 - math.exp(-0.7 * length)
    torch.testing.assert_close(seen.alpha, torch.full_like(seen.alpha, expected), rtol=1e-6, atol=0)
    torch.testing.assert_close(seen.features, 3 * seen.alpha.expand(-1, 2, -1, -1), rtol=0.2, atol=0)


@pytest.mark.parametrize("kind", ["density", "occupancy"])
def test_a_pixel_summed_by_hand(kind: VolumeKind) -> None:
    grid, camera, num_samples = random_grid(kind, (1, 4, 4, 4)), cameras(1), 6
    seen = render_densely(grid, camera, 5, num_samples)
    rays, pixel = sample_rays(camera, 5, grid.half_extent, num_samples), 12

    def read(values: torch.Tensor, point: torch.Tensor) -> float:
        place = (point / grid.half_extent + 1) * 2 - 0.5
        total = 0.0
        for i in range(4):
            for j in range(4):
                for k in range(4):
                    near = (1 - (place - torch.tensor([i, j, k])).abs()).clamp(min=0)
                    total += float(near.prod() * values[i, j, k])
        return total

    light, color, alpha, depth = 1.0, 0.0, 0.0, 0.0
    for index in range(num_samples):
        point = rays.start[0, pixel] + index * rays.step[0, pixel]
        value = read(grid.density[0], point)
        stopped = value if kind == "occupancy" else 1 - math.exp(-value * float(rays.spacing[0, pixel]))
        color += light * stopped * read(grid.features[0, 1], point)
        alpha += light * stopped
        depth += light * stopped * float(rays.depth[0, pixel] + index * rays.depth_step[0, pixel])
        light *= 1 - stopped
    assert 0.2 < alpha < 0.99
    assert seen.features[0, 1, 2, 2].item() == pytest.approx(color, abs=1e-12)
    assert seen.alpha[0, 0, 2, 2].item() == pytest.approx(alpha, abs=1e-12)
    assert seen.depth[0, 0, 2, 2].item() == pytest.approx(depth, abs=1e-12)
