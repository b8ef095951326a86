"""Equations 37 to 39: closed forms, the direction of the game, and the penalty's own gradient."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from raylift.losses.adversarial import (
    critic_fake_loss,
    critic_real_loss,
    generator_loss,
    gradient_penalty,
    interpolation_shares,
)


def _as_printed(fake: torch.Tensor) -> torch.Tensor:
    """log(1 - D(x)) of rendered images: equation 38, which training replaces by its non-saturating form."""
    return -critic_fake_loss(fake)


def test_equations_37_and_38_are_logarithms_of_probabilities() -> None:
    logits = torch.linspace(-4, 4, 9, dtype=torch.float64)[:, None]
    for logit, real, fake, ours, printed in zip(
        logits.flatten().tolist(),
        critic_real_loss(logits).flatten().tolist(),
        critic_fake_loss(logits).flatten().tolist(),
        generator_loss(logits).flatten().tolist(),
        _as_printed(logits).flatten().tolist(),
        strict=True,
    ):
        d = 1 / (1 + math.exp(-logit))
        assert real == pytest.approx(-math.log(d))
        assert fake == pytest.approx(-math.log(1 - d))
        assert ours == pytest.approx(-math.log(d))
        assert printed == pytest.approx(math.log(1 - d))


def test_only_our_generator_loss_learns_from_a_sure_critic() -> None:
    slopes = []
    for loss in (generator_loss, _as_printed):
        logits = torch.full((1, 1), -20.0, dtype=torch.float64, requires_grad=True)
        loss(logits).sum().backward()
        assert logits.grad is not None
        slopes.append(logits.grad.item())
    assert slopes[0] == pytest.approx(-1.0, abs=1e-6)
    assert -1e-6 < slopes[1] < 0  # the same direction, and as good as nothing
    assert critic_real_loss(torch.tensor([[-1e4]])).isfinite().all()


def test_equation_39_of_a_linear_critic() -> None:
    """grad_x of <w, x> is w, wherever x is."""
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    critic = lambda x: (x * weight).sum(dim=(1, 2, 3))[:, None]  # noqa: E731
    real, fake = torch.rand(2, 5, 3, 4, 4, dtype=torch.float64)
    penalty = gradient_penalty(critic, real, fake, interpolation_shares(torch.arange(5), 0, 0))
    torch.testing.assert_close(penalty, (weight.norm() - 1).square().expand(5))
    penalty.mean().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, 2 * (1 - 1 / weight.norm()).detach() * weight.detach())


def test_equation_39_is_taken_between_real_and_fake() -> None:
    """grad_x of |x|^2 / 2 is x: the penalty tells where it was taken."""
    critic = lambda x: x.square().flatten(1).sum(dim=1, keepdim=True) / 2  # noqa: E731
    real, fake = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64)
    shares = torch.tensor([0.0, 1.0, 0.25])
    penalty = gradient_penalty(critic, real, fake, shares)
    between = torch.stack([fake[0], real[1], 0.25 * real[2] + 0.75 * fake[2]])
    torch.testing.assert_close(penalty, (between.flatten(1).norm(dim=1) - 1).square())


def test_the_penalty_trains_a_real_critic() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 1)).double()
    real, fake = torch.rand(2, 2, 1, 4, 4, dtype=torch.float64)
    shares = torch.tensor([0.3, 0.6])

    def of_weight(weight: torch.Tensor) -> torch.Tensor:
        def critic(x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.func.functional_call(network, {"0.weight": weight}, (x,))
            return result

        return gradient_penalty(critic, real, fake, shares)

    weight = network[0].weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(of_weight, weight)


def test_interpolations_belong_to_samples() -> None:
    keys = torch.arange(100)
    shares = interpolation_shares(keys, seed=1, step=2)
    assert torch.equal(interpolation_shares(keys[40:50], seed=1, step=2), shares[40:50])
    assert not torch.equal(interpolation_shares(keys, seed=1, step=3), shares)
    assert 0 <= float(shares.min()) < 0.1
    assert 0.9 < float(shares.max()) < 1
