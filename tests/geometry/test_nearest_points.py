"""The nearest point of a cloud, against all distances."""

from __future__ import annotations

import torch

from raylift.geometry.nearest_points import PointIndex


def test_nearest_is_the_least_of_all_distances() -> None:
    draw = torch.Generator().manual_seed(0)
    points, query = torch.rand(500, 3, generator=draw), 2 * torch.rand(300, 3, generator=draw) - 0.5
    found = PointIndex(points).nearest(query)
    least = torch.cdist(query, points).amin(1)
    torch.testing.assert_close((query - points[found]).norm(dim=1), least)
    assert PointIndex(points[:1]).nearest(query).tolist() == [0] * 300
    assert PointIndex(points).nearest(query[:0]).shape == (0,)
