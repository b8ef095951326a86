"""Lazy regularisers: closed forms of linear networks, and second derivatives through both discriminators."""

from __future__ import annotations

import copy

import pytest
import torch

from raylift.losses.gradient_penalty import path_length_loss, path_lengths, r1_gamma, r1_penalty, updated_path_mean
from raylift.losses.view_adversarial import over_heads
from raylift.networks.discriminators.choice import DiscriminatorKind, make_discriminator


def test_r1_of_a_linear_discriminator() -> None:
    """grad_x of <w, x> is w: the penalty is |w|^2, and its own gradient 2 w."""
    weight = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    real = torch.rand(5, 3, 4, 4, dtype=torch.float64)
    penalty = r1_penalty(lambda x: (x * weight).sum(dim=(1, 2, 3)), real)
    torch.testing.assert_close(penalty, weight.square().sum().expand(5))
    penalty.mean().backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_r1_is_taken_at_the_real_images() -> None:
    """grad_x of |x|^2 / 2 is x."""
    real = torch.rand(3, 1, 2, 2, dtype=torch.float64)
    penalty = r1_penalty(lambda x: x.square().flatten(1).sum(dim=1) / 2, real)
    torch.testing.assert_close(penalty, real.square().flatten(1).sum(dim=1))


@pytest.mark.parametrize("kind", ["statistics", "residual"])
def test_r1_trains_a_discriminator(kind: DiscriminatorKind) -> None:
    """Its gradient with respect to every weight is a central difference of its value."""
    discriminator = make_discriminator(kind, 4, 2, 8).double().eval()
    for layer in discriminator.modules():
        if hasattr(layer, "iterate"):
            layer.iterate(2000)
    real = torch.rand(2, 4, 8, 8, dtype=torch.float64)

    def penalty() -> torch.Tensor:
        return r1_penalty(lambda x: over_heads(discriminator(x)), real).sum()

    penalty().backward()
    checked = 0
    for parameter in discriminator.parameters():
        if parameter.grad is None:  # the last bias, which moves no gradient
            continue
        direction = torch.randn_like(parameter)
        expected = float((parameter.grad * direction).sum())
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.add_(sign * 1e-6 * direction)
                values.append(float(penalty()))
                parameter.sub_(sign * 1e-6 * direction)
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(expected, rel=1e-4, abs=1e-7)
        checked += abs(expected) > 1e-6
    assert checked >= 6


@pytest.mark.parametrize("kind", ["statistics", "residual"])
def test_r1_is_float32_under_autocast(kind: DiscriminatorKind) -> None:
    discriminator = make_discriminator(kind, 3, 4, 32).eval()
    real = torch.rand(2, 3, 32, 32)
    plain = r1_penalty(lambda x: over_heads(discriminator(x)), real)
    double = copy.deepcopy(discriminator).double()
    torch.testing.assert_close(
        plain.double(), r1_penalty(lambda x: over_heads(double(x)), real.double()), rtol=1e-4, atol=0
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = r1_penalty(lambda x: over_heads(discriminator(x)), real.bfloat16().float())
        same = r1_penalty(lambda x: over_heads(discriminator(x)), real)
    assert mixed.dtype == torch.float32
    assert torch.equal(same, plain)


def test_gamma_of_stylegan2_ada() -> None:
    assert r1_gamma(256, 64) == pytest.approx(0.0002 * 65536 / 64)


def test_path_lengths_of_a_linear_generator() -> None:
    """J^T y of x = A w is A^T y, whatever w is."""
    matrix = torch.randn(3 * 2 * 4, 5, dtype=torch.float64, requires_grad=True)
    latent = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(6, 3, 2, 4, dtype=torch.float64)
    image = (latent @ matrix.T).unflatten(1, (3, 2, 4))
    lengths = path_lengths(image, latent, noise)
    expected = (noise.flatten(1) @ matrix / 8**0.5).norm(dim=1)
    torch.testing.assert_close(lengths, expected)
    mean = updated_path_mean(torch.tensor(2.0).double(), lengths, decay=0.1)
    torch.testing.assert_close(mean, 0.9 * 2.0 + 0.1 * expected.detach().mean())
    loss = path_length_loss(lengths, mean)
    torch.testing.assert_close(loss, (expected - mean).square())
    (gradient,) = torch.autograd.grad(loss.sum(), matrix)
    (wanted,) = torch.autograd.grad((expected - mean).square().sum(), matrix)
    torch.testing.assert_close(gradient, wanted)


def test_a_generator_that_ignores_its_latent_has_finite_gradients() -> None:
    weight = torch.zeros(2, 12, dtype=torch.float64, requires_grad=True)
    latent = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    image = (latent @ weight).unflatten(1, (3, 2, 2))
    path_length_loss(path_lengths(image, latent, torch.randn(3, 3, 2, 2).double()), torch.tensor(1.0)).sum().backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
