"""Errors of binned poses, in closed form."""

from __future__ import annotations

import math

import torch

from raylift.geometry.pose_bins import bin_centers, bins_of
from raylift.losses.pose_bins import pose_bin_error, pose_offset_error


def test_the_bin_error_is_the_mean_of_three_cross_entropies() -> None:
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 8, generator=draws, dtype=torch.float64)
    bins = torch.randint(8, (4, 3), generator=draws)
    expected = torch.zeros(4, dtype=torch.float64)
    for row in range(4):
        for angle in range(3):
            expected[row] -= logits[row, angle].log_softmax(0)[bins[row, angle]] / 3
    torch.testing.assert_close(pose_bin_error(logits, bins), expected)


def test_the_offset_error_is_one_minus_cosine_within_the_true_bin_whatever_the_length() -> None:
    draws = torch.Generator().manual_seed(0)
    angles = (2 * torch.rand(5, 3, generator=draws, dtype=torch.float64) - 1) * math.pi
    centers, bins = bin_centers(8, angles), bins_of(angles, 8)
    wanted = angles[..., None] - centers
    for off_rad in (0.0, 0.3, math.pi):
        given = torch.stack([(wanted + off_rad).cos(), (wanted + off_rad).sin()], -1) * 7
        error = pose_offset_error(given, bins, centers, angles)
        torch.testing.assert_close(error, torch.full_like(error, 1 - math.cos(off_rad)))
    other = torch.stack([wanted.cos(), wanted.sin()], -1)
    unread = torch.ones(5, 3, 8, dtype=torch.bool).scatter(2, bins[..., None], False)
    torch.testing.assert_close(
        pose_offset_error(torch.where(unread[..., None], 9.0, other), bins, centers, angles),
        torch.zeros(5, dtype=torch.float64),
    )
