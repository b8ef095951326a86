"""The pose head: what it decodes, and whose bins it reads."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.geometry.pose_bins import bin_centers, bins_of
from raylift.geometry.pose_grid import pose_angles
from raylift.geometry.rotations import quaternion_to_matrix, rotation_angle
from raylift.networks.pose_bins import PoseBinHead, PoseBins, PoseBinsConfig

BINS = 21


def _rotations() -> torch.Tensor:
    draws = torch.Generator().manual_seed(3)
    return quaternion_to_matrix(torch.randn(100, 4, generator=draws, dtype=torch.float64))


def test_a_planted_pose_comes_back_exactly_with_offsets_and_to_a_bin_without() -> None:
    rotation = _rotations()
    angles = pose_angles(rotation)
    logits = functional.one_hot(bins_of(angles, BINS), BINS).double()
    wanted = angles[..., None] - bin_centers(BINS, angles)
    exact = PoseBins(logits, torch.stack([wanted.cos(), wanted.sin()], -1)).rotations()
    assert float(rotation_angle(exact, rotation).max()) < 1e-7
    coarse = rotation_angle(PoseBins(logits, None).rotations(), rotation)
    assert float(coarse.mean()) > 0.02
    # Half a bin of each of three angles at most.
    assert float(coarse.max()) < 3 * math.pi / BINS


def test_each_category_has_its_own_bins_only_if_asked() -> None:
    feature, category = torch.randn(1, 6, generator=torch.Generator().manual_seed(0)).expand(3, 6), torch.arange(3)
    own = PoseBinHead(6, 3, PoseBinsConfig(8, per_category=True))(feature, category)
    shared = PoseBinHead(6, 3, PoseBinsConfig(8))(feature, category)
    assert own.logits.shape == shared.logits.shape == (3, 3, 8)
    assert not torch.allclose(own.logits[0], own.logits[1])
    assert torch.equal(shared.logits[0], shared.logits[1])
    assert PoseBinHead(6, 3, PoseBinsConfig(8, offsets=False))(feature, category).offsets is None


def test_a_fresh_head_answers_near_the_centers() -> None:
    head = PoseBinHead(6, 3, PoseBinsConfig(8))
    bins = head(torch.zeros(1, 6), torch.zeros(1, dtype=torch.int64))
    assert bins.offsets is not None
    torch.testing.assert_close(bins.offsets, torch.tensor([1.0, 0.0]).expand_as(bins.offsets))


def test_too_few_bins_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_bins"):
        PoseBinsConfig(2)
