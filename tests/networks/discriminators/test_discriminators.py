"""Both discriminators: sizes, bounds, independence of samples, and that they learn to tell images apart."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.losses.adversarial import critic_fake_loss, critic_real_loss
from raylift.losses.view_adversarial import over_heads
from raylift.networks.discriminators.choice import Discriminator, DiscriminatorKind, make_discriminator
from raylift.networks.discriminators.noise import keyed_noise
from raylift.networks.discriminators.residual import ResidualDiscriminator, blurred_half
from raylift.networks.discriminators.spectral import SpectralConv2d
from raylift.networks.discriminators.statistics import StatisticsDiscriminator, channel_statistics

KINDS: tuple[DiscriminatorKind, ...] = ("statistics", "residual")


def _spectral(discriminator: Discriminator) -> list[SpectralConv2d]:
    return [module for module in discriminator.modules() if isinstance(module, SpectralConv2d)]


def _planted(key: int, number: int = 8) -> tuple[Tensor, Tensor]:
    """Bright discs on the left of noise, and on its right."""
    draws = torch.Generator().manual_seed(key)
    left = 0.3 * torch.rand(number, 4, 32, 32, generator=draws)
    left[:, :, 10:22, 4:14] += 0.6
    right = (0.3 * torch.rand(number, 4, 32, 32, generator=draws)).clone()
    right[:, :, 10:22, 18:28] += 0.6
    return left, right


def test_the_originals_sizes() -> None:
    """At a 16th of its width: 128 to 2048 channels."""
    discriminator = StatisticsDiscriminator(width=128 // 16)
    assert [16 * layer.out_channels for layer in _spectral(discriminator)] == [128, 256, 512, 1024, 2048]
    assert [16 * head.in_features for head in discriminator.heads] == [256, 512, 1024, 2048]  # type: ignore[operator]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("px", [8, 32, 64])
def test_one_logit_per_head(channels: int, px: int) -> None:
    image = torch.rand(3, channels, px, px)
    statistics = StatisticsDiscriminator(channels, 4, px)
    logits, maps = statistics.logits_and_maps(image)
    num_layers = {8: 2, 32: 4, 64: 5}[px]
    assert logits.shape == (3, 1 + 2 * (num_layers - 1))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (4 * 2**level, px // 2 ** (level + 1), px // 2 ** (level + 1)) for level in range(num_layers)
    ]
    logits, maps = ResidualDiscriminator(channels, 4, px).logits_and_maps(image)
    assert logits.shape == (3, 1)
    assert maps[-1].shape[2:] == (4, 4)


def test_heads_see_what_instance_normalisation_removes() -> None:
    """The statistics are taken before normalisation, where images differ."""
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64) * 4 + 2
    mean, deviation = channel_statistics(x)
    torch.testing.assert_close(mean, x.mean((2, 3), keepdim=True))
    torch.testing.assert_close(deviation, (x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt())
    discriminator = StatisticsDiscriminator(3, 4, 32).double()
    logits = discriminator(torch.rand(5, 3, 32, 32, dtype=torch.float64))
    assert (logits.std(dim=0) > 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_independent(kind: DiscriminatorKind) -> None:
    discriminator = make_discriminator(kind, 4, 4, 32).double().eval()
    image = torch.rand(3, 4, 32, 32, dtype=torch.float64)
    assert float(discriminator(image).detach().std(dim=0).max()) > 1e-4
    torch.testing.assert_close(discriminator(image)[1:2], discriminator(image[1:2]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_float32_under_autocast(kind: DiscriminatorKind) -> None:
    """Losses add them up over a batch."""
    discriminator = make_discriminator(kind, 4, 4, 32).eval()
    image = torch.rand(2, 4, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = discriminator(image)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, discriminator(image), rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_weights(kind: DiscriminatorKind) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(make_discriminator(kind, 3, 4, 32).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize("kind", KINDS)
def test_it_travels(kind: DiscriminatorKind) -> None:
    discriminator = make_discriminator(kind, 3, 4, 32).eval()
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(pickle.loads(pickle.dumps(discriminator))(image), discriminator(image))


def test_a_spectral_convolution_has_norm_1() -> None:
    layer = SpectralConv2d(6, 10, 5, 2, padding=2).double()
    with torch.no_grad():
        layer.weight.mul_(7)
    for _ in range(200):
        layer(torch.rand(1, 6, 8, 8, dtype=torch.float64))
    largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
    torch.testing.assert_close(layer.norm().detach(), largest, rtol=1e-6, atol=0)
    image = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(image, layer.weight / largest, layer.bias, stride=2, padding=2)
    torch.testing.assert_close(layer(image), expected, rtol=1e-6, atol=1e-9)


def test_the_norm_follows_from_weights_and_passes() -> None:
    layer = SpectralConv2d(3, 4, 3)
    before = layer.left.clone()
    layer.eval()(torch.rand(1, 3, 4, 4))
    assert torch.equal(layer.left, before)
    layer.train()
    outputs = [layer(torch.rand(1, 3, 4, 4)) for _ in range(2)]
    assert not torch.equal(layer.left, before)
    sum(output.sum() for output in outputs).backward()  # type: ignore[union-attr] # the second pass spoils nothing
    assert layer.weight.grad is not None


def test_the_gradient_of_the_norm() -> None:
    layer = SpectralConv2d(3, 4, 3).double().eval()
    layer.iterate(500)
    image = torch.rand(1, 3, 5, 5, dtype=torch.float64)
    weight = layer.weight.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(layer, {"weight": w}, (image,)), weight)


def test_noise_is_on_the_image_from_minus_1_to_1() -> None:
    discriminator = StatisticsDiscriminator(3, 4, 32, noise=0.02).eval()
    image, noise = torch.rand(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(discriminator(image, noise), discriminator(image + 0.01 * noise))
    residual = ResidualDiscriminator(3, 4, 32)
    assert torch.equal(residual(image, noise), residual(image))


def test_noise_belongs_to_samples() -> None:
    keys = torch.arange(9) * 2**40
    noise = keyed_noise((3, 8, 8), keys, seed=1, step=2, purpose="real")
    assert noise.shape == (9, 3, 8, 8)
    assert torch.equal(keyed_noise((3, 8, 8), keys[4:6], 1, 2, "real"), noise[4:6])
    assert abs(float((noise[1:] * noise[:-1]).mean())) < 0.1
    for other in (keyed_noise((3, 8, 8), keys, 1, 3, "real"), keyed_noise((3, 8, 8), keys, 1, 2, "novel view")):
        assert abs(float((noise * other).mean())) < 0.1
    assert abs(float(noise.std()) - 1) < 0.05


def test_halving_blurs() -> None:
    constant = blurred_half(torch.full((1, 2, 8, 8), 3.0))
    assert constant.shape == (1, 2, 4, 4)
    torch.testing.assert_close(constant[..., 1:-1, 1:-1], torch.full((1, 2, 2, 2), 3.0))
    checkers = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).double()[None, None]
    torch.testing.assert_close(blurred_half(checkers)[..., 1:-1, 1:-1], torch.full((1, 1, 2, 2), 0.5).double())


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_to_tell_two_kinds_apart(kind: DiscriminatorKind) -> None:
    torch.manual_seed(1)
    discriminator = make_discriminator(kind, 4, 8, 32)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.0, 0.99))
    for step in range(30):
        real, fake = _planted(step)
        noise = torch.randn_like(real)
        loss = over_heads(critic_real_loss(discriminator(real, noise))).mean()
        loss = loss + over_heads(critic_fake_loss(discriminator(fake, noise))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    real, fake = _planted(1000, 16)
    discriminator.eval()
    with torch.no_grad():
        right = torch.cat([discriminator(real)[:, 0] > 0, discriminator(fake)[:, 0] < 0])
    assert float(right.float().mean()) >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_sizes_are_refused(kind: DiscriminatorKind) -> None:
    for sizes, match in (((2, 4, 32), "channels"), ((3, 0, 32), "width"), ((3, 4, 48), "px"), ((3, 4, 4), "px")):
        with pytest.raises(ConfigError, match=match):
            make_discriminator(kind, *sizes)
    with pytest.raises(ConfigError, match="unknown discriminator"):
        make_discriminator("both", 3, 4, 32)  # type: ignore[arg-type]
