"""The critic: sizes, independence of samples, and that it can be trained to tell two kinds of pictures apart."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import ConfigError
from raylift.losses.adversarial import critic_fake_loss, critic_real_loss, gradient_penalty
from raylift.networks.critic import Critic


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_any_size(size: int) -> None:
    image = torch.rand(2, 3, size, size)
    assert Critic("patch", width=4)(image).shape == (2, (size // 16) ** 2)
    assert Critic("global", width=4)(image).shape == (2, 1)


@pytest.mark.parametrize("kind", ["patch", "global"])
def test_samples_are_strangers(kind: str) -> None:
    critic = Critic(kind, width=4).double()  # type: ignore[arg-type]
    image = torch.rand(3, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(critic(image)[1:2], critic(image[1:2]), rtol=1e-10, atol=1e-12)


def test_it_learns_to_tell_stripes_apart() -> None:
    critic = Critic("patch", width=4)
    stripes = torch.zeros(4, 3, 32, 32)
    stripes[..., ::4] = 1
    real, fake = stripes, stripes.mT.contiguous()
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        penalty = gradient_penalty(critic, real, fake, torch.rand(4))
        (
            critic_real_loss(critic(real)).mean() + critic_fake_loss(critic(fake)).mean() + 0.1 * penalty.mean()
        ).backward()
        optimiser.step()
    assert float(critic(real).detach().min()) > 0 > float(critic(fake).detach().max())


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="'patch' or 'global'"):
        Critic("both")  # type: ignore[arg-type]
