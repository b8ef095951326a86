"""The table of cameras: start, scores, pruning, restoring. That any number of ranks gives the same table is tested with
the losses, in ``tests/losses/test_world_size.py``."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.core.collectives import global_sum, rank, share_of_mean, world_size
from raylift.core.errors import ConfigError, DataError
from raylift.geometry.cameras import orbit
from raylift.networks.camera_multiplex import ELEVATIONS_DEG, CameraMultiplex

IMAGES = torch.tensor([3, 0, 5, 2, 3, 1])  # image 3 is in the batch twice


def test_forty_cameras_around_every_image() -> None:
    multiplex = CameraMultiplex(4)
    cameras = multiplex(torch.tensor([2])).cameras()
    assert len(cameras) == 40
    expected = orbit(45.0, ELEVATIONS_DEG[3]).rotation[0]
    torch.testing.assert_close(cameras.rotation[5 + 3], expected, rtol=0, atol=1e-6)


def test_pruning_keeps_the_best_of_each_image() -> None:
    multiplex = CameraMultiplex(3, num_azimuths=6, elevations_deg=(0.0,))
    errors = torch.tensor([[5.0, 1, 4, 0, 2, 3], [0, 1, 2, 3, 4, 5]])
    for _ in range(2):
        multiplex.observe(torch.tensor([1, 2]), errors)
    multiplex.prune(3)
    assert multiplex.kept[:, :3].tolist() == [[0, 1, 2], [3, 1, 4], [0, 1, 2]]  # image 0 was never seen
    hypotheses = multiplex(torch.tensor([1]))
    torch.testing.assert_close(hypotheses.quaternion[0], multiplex.base[[3, 1, 4]])
    # ClaimResult anew: errors are of the cameras that are left, in the order in which they are given.
    multiplex.reset_scores()
    multiplex.observe(torch.tensor([1]), torch.tensor([[9.0, 1.0, 2.0]]))
    multiplex.prune(2)
    assert multiplex.kept[1, :2].tolist() == [1, 4]
    loss = multiplex(torch.tensor([1])).scale.sum()
    loss.backward()
    assert multiplex.numbers.grad is not None
    assert multiplex.numbers.grad.abs().sum(dim=-1).nonzero().tolist() == [[1, 1], [1, 4]]


def test_a_pruned_table_is_its_state() -> None:
    multiplex = CameraMultiplex(3)
    multiplex.observe(torch.arange(3), torch.rand(3, 40))
    multiplex.prune(4)
    torch.nn.init.normal_(multiplex.numbers)
    again = CameraMultiplex(3)
    again.load_state_dict(multiplex.state_dict())
    ours, theirs = (table(torch.tensor([2, 0])).weak_perspective() for table in (multiplex, again))
    assert len(theirs.scale) == 8
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_impossible_tables_are_refused() -> None:
    with pytest.raises(ConfigError, match="keep between 1 and 40"):
        CameraMultiplex(2).prune(41)
    with pytest.raises(ConfigError, match="at least one"):
        CameraMultiplex(0)
    with pytest.raises(DataError, match="index"):
        CameraMultiplex(2)(torch.tensor([2]))


def train_a_multiplex() -> dict[str, Tensor]:
    """Two pruning rounds with steps between, on this rank's part of the batch (``tests/losses/test_world_size.py``)."""
    torch.manual_seed(0)
    multiplex = CameraMultiplex(6, num_azimuths=4, elevations_deg=(0.0, 20.0)).double()
    momentum = torch.zeros_like(multiplex.numbers)
    part = slice(rank() * len(IMAGES) // world_size(), (rank() + 1) * len(IMAGES) // world_size())
    images = IMAGES[part]
    aims = torch.linspace(-1, 1, len(IMAGES) * 4, dtype=torch.float64).reshape(-1, 4).sin()[part]
    for step in range(6):
        hypotheses = multiplex(images)
        errors = (hypotheses.quaternion - aims[:, None]).square().sum(-1) + (hypotheses.scale - 1).square()
        (slope,) = torch.autograd.grad(share_of_mean(errors), multiplex.numbers)
        # What DistributedDataParallel's mean of world-size-scaled shares comes to; its import alone takes seconds.
        momentum = 0.9 * momentum + global_sum(slope)
        with torch.no_grad():
            multiplex.numbers -= 0.5 * momentum
        multiplex.observe(images, errors)
        if step in (2, 4):
            multiplex.prune(int(multiplex.num_kept) // 2)
            multiplex.reset_scores()
    return {name: value.clone() for name, value in multiplex.state_dict().items()}
