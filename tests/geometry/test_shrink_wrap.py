"""Wrapping a sphere around a level of a distance field."""

from __future__ import annotations

import torch

from raylift.geometry.laplacian import face_normals
from raylift.geometry.octahedral import octasphere
from raylift.geometry.shrink_wrap import distances_at, shrink_wrap
from raylift.geometry.voxels import grid_points

SPHERE, FACES, _ = octasphere(8)


def _box(points: torch.Tensor, center: tuple[float, ...], half: tuple[float, ...]) -> torch.Tensor:
    gap = (points - torch.tensor(center)).abs() - torch.tensor(half)
    return gap.clamp(min=0).norm(dim=-1) + gap.amax(dim=-1).clamp(max=0)


def _seat(points: torch.Tensor) -> torch.Tensor:
    """A seat with a back: no ray from one centre meets all of its surface once."""
    return torch.minimum(
        _box(points, (0, -0.2, 0), (0.3, 0.06, 0.35)), _box(points, (0, 0.1, -0.29), (0.3, 0.36, 0.06))
    )


def _grid(distance: object, side: int = 32) -> torch.Tensor:
    cells = torch.from_numpy(grid_points(side)).float()
    return distance(cells).reshape(side, side, side)  # type: ignore[operator]


def test_distances_are_read_within_the_grid_and_continue_beyond_it() -> None:
    grid = _grid(lambda points: points.norm(dim=-1) - 0.3)
    points = torch.tensor([[0.1, 0.2, -0.3], [0.9, 0, 0], [0, 0, 0.31]])
    torch.testing.assert_close(distances_at(grid, points), points.norm(dim=-1) - 0.3, atol=6e-3, rtol=0)


def test_a_shape_that_is_not_star_shaped_is_wrapped() -> None:
    grid = _grid(_seat)
    wrapped = shrink_wrap(grid, 0.0, SPHERE, FACES)
    assert float(_seat(wrapped).abs().mean()) < 0.01
    assert float(_seat(wrapped).abs().max()) < 0.06
    # Into the corner between seat and back, which the convex hull covers.
    corner = torch.tensor([0.0, -0.1, -0.18])
    assert float((wrapped - corner).norm(dim=-1).min()) < 0.1
    # Faces point outwards: their normals agree with the distance's slope.
    middles = wrapped[FACES].mean(dim=1).requires_grad_()
    (slope,) = torch.autograd.grad(_seat(middles).sum(), middles)
    agrees = (face_normals(wrapped, FACES) * slope).sum(dim=-1) > 0
    assert float(agrees.float().mean()) > 0.97


def test_a_level_encloses_more_than_a_lower_one_and_the_result_is_the_same_every_time() -> None:
    grid = _grid(_seat)
    wide = shrink_wrap(grid, 0.1, SPHERE, FACES)
    assert float((_seat(wide) - 0.1).abs().mean()) < 0.01
    assert torch.equal(wide, shrink_wrap(grid, 0.1, SPHERE, FACES))
