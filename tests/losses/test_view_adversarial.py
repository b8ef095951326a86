"""Equation 7 of the shelf-supervised paper: as printed, as trained, and over heads."""

from __future__ import annotations

import pytest
import torch

from raylift.losses.view_adversarial import discriminator_view_loss, generator_view_loss, over_heads


def _logits(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64)


def test_equation_7_as_printed() -> None:
    real, seen, novel = (_logits(4, 1) for _ in range(3))
    d_real, d_seen, d_novel = (x[:, 0].sigmoid() for x in (real, seen, novel))
    printed = d_real.log() + (1 - d_seen).log() + (1 - d_novel).log()
    torch.testing.assert_close(discriminator_view_loss(real, seen, novel, fake_weight=1.0), -printed)
    # The generator minimises what the discriminator maximises, without the part that it has no influence on.
    torch.testing.assert_close(
        generator_view_loss(seen, novel, fake_weight=1.0, saturating=True), printed - d_real.log()
    )


def test_the_trained_form_and_weights() -> None:
    real, seen, novel = (_logits(4, 1) for _ in range(3))
    d_real, d_seen, d_novel = (x[:, 0].sigmoid() for x in (real, seen, novel))
    torch.testing.assert_close(
        discriminator_view_loss(real, seen, novel), -(d_real.log() + 0.5 * ((1 - d_seen) * (1 - d_novel)).log())
    )
    torch.testing.assert_close(generator_view_loss(seen, novel), -0.5 * (d_seen * d_novel).log())


def test_further_heads_count_as_much_as_the_first() -> None:
    values = torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 1.0]])
    assert over_heads(values).tolist() == [4.0, 0.0]
    assert over_heads(values[:, :1]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("saturating", [False, True])
def test_only_the_default_learns_from_a_sure_discriminator(saturating: bool) -> None:
    logits = torch.full((1, 1), -20.0, dtype=torch.float64, requires_grad=True)
    generator_view_loss(logits, logits.detach(), saturating=saturating).sum().backward()
    assert logits.grad is not None
    slope = float(logits.grad)
    assert -1e-6 < slope < 0 if saturating else slope == pytest.approx(-0.5)


def test_gradients() -> None:
    real, seen, novel = (_logits(2, 3).requires_grad_() for _ in range(3))
    assert torch.autograd.gradcheck(discriminator_view_loss, (real, seen, novel))
    assert torch.autograd.gradcheck(generator_view_loss, (seen, novel))
