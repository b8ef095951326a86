"""Law 1 at its root: shares add up to the loss of the global batch, and gradients with them."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from raylift.core import collectives
from raylift.testing.ranks import run_ranks

ROWS = 7  # odd on purpose: ranks hold different numbers of rows


def _rows() -> Tensor:
    return torch.linspace(-1, 2, ROWS * 3, dtype=torch.float64).reshape(ROWS, 3).sin()


def _part(world: int, rank: int) -> slice:
    return slice(rank * ROWS // world, (rank + 1) * ROWS // world)


def _coupled_loss(rows: Tensor) -> Tensor:
    """A loss in which every row meets every other."""
    return (rows @ rows.T).exp().sum().log()


def _share(world: int) -> tuple[float, Tensor]:
    rows = _rows()[_part(world, collectives.rank())].clone().requires_grad_()
    everything = collectives.gather_rows(rows)
    # Each rank owns an equal part of the coupled loss; gather's backward carries what it says about the others' rows.
    share = _coupled_loss(everything) / collectives.world_size() + collectives.share_of_mean(rows.square())
    share.backward()
    assert rows.grad is not None
    return share.item(), rows.grad


def _on_rank(world: int) -> dict[str, Any]:
    return {"share": _share(world), "reductions": _reductions()}


@cache
def _on_ranks(world: int) -> list[dict[str, Any]]:
    """What the tests of several ranks compare, by one start of the ranks."""
    return run_ranks(world, _on_rank, world)


@pytest.mark.parametrize("world", [2, 4])
def test_shares_and_gradients_add_up(world: int) -> None:
    rows = _rows().requires_grad_()
    loss = _coupled_loss(rows) + rows.square().mean()
    loss.backward()
    shares = [result["share"] for result in _on_ranks(world)]
    assert sum(share for share, _ in shares) == pytest.approx(loss.item(), rel=1e-14)
    assert rows.grad is not None
    torch.testing.assert_close(torch.cat([gradient for _, gradient in shares]), rows.grad, rtol=1e-13, atol=1e-15)


def _reductions() -> tuple[float, float, float, list[int]]:
    rank = collectives.rank()
    value = torch.tensor([float(rank + 1)])
    return (
        collectives.global_sum(value).item(),
        collectives.global_max(value).item(),
        collectives.global_count(rank, value).item(),
        collectives.gather_objects(rank * 10),
    )


@pytest.mark.parametrize("world", [2, 4])
def test_reductions_see_every_rank(world: int) -> None:
    numbers = range(world)
    for result in _on_ranks(world):
        total = sum(number + 1 for number in numbers)
        assert result["reductions"] == (total, world, sum(numbers), [10 * number for number in numbers])


def test_a_world_of_one_needs_no_process_group() -> None:
    assert (collectives.world_size(), collectives.rank(), collectives.is_main()) == (1, 0, True)
    rows = _rows()
    assert collectives.gather_rows(rows) is rows
    assert collectives.gather_objects("x") == ["x"]
    assert collectives.share_of_mean(torch.zeros(0)).item() == 0.0


def test_reductions_leave_their_input_alone() -> None:
    value = torch.ones(2)
    collectives.global_sum(value).add_(1)
    assert torch.equal(value, torch.ones(2))
