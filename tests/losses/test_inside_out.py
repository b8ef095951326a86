"""What a Chamfer distance does not see: a mesh that is inside out."""

from __future__ import annotations

import torch

from raylift.geometry.octahedral import octasphere
from raylift.geometry.voxels import grid_points
from raylift.losses.inside_out import insideout_share

SPHERE, FACES, _ = octasphere(6)
UNIFORMS = torch.rand(1, 2000, 3, generator=torch.Generator().manual_seed(0))


def _plate(half: float) -> torch.Tensor:
    """Signed distances of a thin plate, half as thick as ``half`` says, across y."""
    cells = torch.from_numpy(grid_points(32)).float()
    gap = cells.abs() - torch.tensor([0.4, half, 0.4])
    return (gap.clamp(min=0).norm(dim=-1) + gap.amax(dim=-1).clamp(max=0)).reshape(1, 32, 32, 32)


def _flat(height: float) -> torch.Tensor:
    return (SPHERE * torch.tensor([0.4, height, 0.4]))[None]


def test_a_thin_plate_the_right_way_round_is_none_and_one_turned_inside_out_is_nearly_all_of_it() -> None:
    grid = _plate(0.02)
    assert float(insideout_share(_flat(0.02), FACES, grid, UNIFORMS)) < 0.02
    # Its two sides have passed through each other: the same surface points, but normals that point inwards.
    assert float(insideout_share(_flat(-0.02), FACES, grid, UNIFORMS)) > 0.3
    ball = torch.from_numpy(grid_points(32)).float().norm(dim=-1).reshape(1, 32, 32, 32) - 0.3
    assert float(insideout_share(0.3 * SPHERE[None], FACES, ball, UNIFORMS)) < 1e-4
    assert float(insideout_share(0.3 * SPHERE[None], FACES[:, [0, 2, 1]], ball, UNIFORMS)) > 0.95


def test_descent_turns_a_plate_back() -> None:
    grid, height = _plate(0.02), torch.tensor(-0.01, requires_grad=True)
    optimizer = torch.optim.Adam([height], lr=2e-3)
    for _ in range(40):
        loss = insideout_share(
            (SPHERE * torch.stack([torch.tensor(0.4), height, torch.tensor(0.4)]))[None], FACES, grid, UNIFORMS
        )
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    assert float(height.detach()) > 0


def test_gradients() -> None:
    grid = _plate(0.1).double()
    vertices = (0.35 * SPHERE[None].double()).requires_grad_()
    few = UNIFORMS[:, :20].double()
    flipped = FACES[:, [0, 2, 1]]
    assert torch.autograd.gradcheck(lambda v: insideout_share(v, flipped, grid, few), vertices, atol=1e-4)
