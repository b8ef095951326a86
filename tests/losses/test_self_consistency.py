"""Equation 8 of the shelf-supervised paper: values, and who is trained."""

from __future__ import annotations

import pytest
import torch

from raylift.geometry.rotations import axis_angle_to_matrix
from raylift.losses.self_consistency import (
    latent_consistency_loss,
    latent_size_loss,
    rotation_code,
    view_consistency_loss,
)


def test_equation_8_is_a_mean_square_that_trains_the_encoder_alone() -> None:
    encoded, latent = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    for loss in (latent_consistency_loss, view_consistency_loss):
        values = loss(encoded, latent)
        torch.testing.assert_close(values, ((encoded - latent) ** 2).mean(dim=1))
        ours, theirs = torch.autograd.grad(values.sum(), (encoded, latent), allow_unused=True)
        torch.testing.assert_close(ours, 2 * (encoded - latent).detach() / 5)
        assert theirs is None


def test_six_numbers_are_a_rotation() -> None:
    rotation = axis_angle_to_matrix(torch.randn(4, 2, 3, dtype=torch.float64))
    first, second = rotation_code(rotation).split(3, dim=-1)
    rebuilt = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-1)
    torch.testing.assert_close(rebuilt, rotation)
    # Half a turn about z moves the first two columns by 2 each: 8 of 6 components.
    half = torch.diag(torch.tensor([-1.0, -1.0, 1.0])).double()
    found = view_consistency_loss(rotation_code(half), rotation_code(torch.eye(3).double()))
    assert float(found) == pytest.approx(8 / 6)


def test_the_latents_size_is_a_divergence() -> None:
    latent = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    assert latent_size_loss(latent).tolist() == [0.0, 1.0]
    normal = torch.distributions.Normal
    mean = torch.distributions.kl_divergence(normal(latent, 1.0), normal(0.0, 1.0)).mean(dim=1)
    torch.testing.assert_close(latent_size_loss(latent), mean)
