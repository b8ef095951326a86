"""Planes through points: of an oblique sheet, of a line, of a single point."""

from __future__ import annotations

import torch
from torch.nn import functional

from raylift.geometry.local_planes import fitted_planes


def test_points_of_a_plane_tell_its_normal() -> None:
    draw = torch.Generator().manual_seed(0)
    normal = functional.normalize(torch.randn(40, 3, generator=draw), dim=1)
    points = torch.randn(40, 8, 3, generator=draw)
    offset = 0.1 * torch.randn(40, generator=draw)
    points = points - ((points * normal[:, None]).sum(-1) - offset[:, None])[..., None] * normal[:, None]
    center, found = fitted_planes(0.01 * points)
    torch.testing.assert_close((center * normal).sum(-1), 0.01 * offset, rtol=0, atol=1e-7)
    torch.testing.assert_close((found * normal).sum(-1).abs(), torch.ones(40), rtol=0, atol=1e-5)


def test_lines_and_single_points_tell_none() -> None:
    line = torch.linspace(0, 1, 8)[:, None] * torch.tensor([0.2, -0.1, 0.3]) + 0.1
    same = torch.full((8, 3), 0.3)
    _, normal = fitted_planes(torch.stack([line, same]))
    assert not normal.any()
    center, normal = fitted_planes(line[None, :1])
    assert not normal.any()
    assert torch.equal(center, line[:1])
