"""Chamfer distances."""

from __future__ import annotations

import torch

from raylift.losses.chamfer import chamfer_distances


def test_both_ways_equal_a_slow_search() -> None:
    draws = torch.Generator().manual_seed(0)
    points, targets = (torch.rand(2, count, 3, generator=draws, dtype=torch.float64) for count in (30, 40))
    first, second = chamfer_distances(points, targets)
    for sample in range(2):
        table = (points[sample][:, None] - targets[sample][None]).norm(dim=-1)
        torch.testing.assert_close(first[sample], table.amin(dim=1), atol=1e-6, rtol=0)
        torch.testing.assert_close(second[sample], table.amin(dim=0), atol=1e-6, rtol=0)


def test_gradients_in_both_sets_and_finite_ones_where_they_coincide() -> None:
    draws = torch.Generator().manual_seed(1)
    sets = [torch.rand(1, count, 3, generator=draws, dtype=torch.float64, requires_grad=True) for count in (5, 6)]
    assert torch.autograd.gradcheck(chamfer_distances, sets)
    same = torch.rand(1, 5, 3, requires_grad=True)
    sum(part.sum() for part in chamfer_distances(same, same.detach())).backward()  # type: ignore[union-attr]
    assert same.grad is not None
    assert not bool(same.grad.any())
