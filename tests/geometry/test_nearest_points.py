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


def test_several_nearest_come_in_order() -> None:
    draw = torch.Generator().manual_seed(0)
    points, query = torch.rand(500, 3, generator=draw), 2 * torch.rand(300, 3, generator=draw) - 0.5
    index = PointIndex(points)
    found = index.several_nearest(query, 5)
    least = torch.cdist(query, points).topk(5, largest=False).values
    torch.testing.assert_close((query[:, None] - points[found]).norm(dim=-1), least)
    assert torch.equal(found[:, 0], index.nearest(query))
    assert PointIndex(points[:3]).several_nearest(query, 5).shape == (300, 3)
