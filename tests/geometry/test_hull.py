"""Rays from the middle of some points to their hull."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import DataError
from raylift.geometry.hull import on_hull
from raylift.geometry.icosphere import symmetric_icosphere


def test_a_spheres_vertices_land_on_the_faces_of_a_box() -> None:
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    box = signs * torch.tensor([0.1, 0.3, 0.5])
    sphere = symmetric_icosphere(2)
    placed = on_hull(sphere.vertices, box)
    torch.testing.assert_close((placed / torch.tensor([0.1, 0.3, 0.5])).abs().amax(dim=1), torch.ones(len(placed)))
    torch.testing.assert_close(torch.nn.functional.normalize(placed), torch.nn.functional.normalize(sphere.vertices))
    torch.testing.assert_close(sphere.expand(sphere.restrict(placed)), placed, atol=1e-6, rtol=0)


def test_points_in_a_plane_are_refused() -> None:
    flat = torch.rand(6, 3) * torch.tensor([1.0, 1.0, 0.0])
    with pytest.raises(DataError, match="plane"):
        on_hull(torch.eye(3), flat)
