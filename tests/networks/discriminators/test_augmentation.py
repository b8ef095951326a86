"""Augmentation against exact changes of small images, and what it must not do: leak, mix samples, break gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from raylift.core.errors import ConfigError
from raylift.losses.gradient_penalty import r1_penalty
from raylift.networks.discriminators.augmentation import AugmentationConfig, augmentation_draws, augmented

NONE = {
    "mirror": False, "shift": 0.0, "scale": 0.0, "rotation_deg": 0.0,
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "cutout": 0.0,
}  # fmt: skip
AMOUNTS = 8  # the first column of ``augmentation_draws`` that is no gate


def _only(**changes: object) -> AugmentationConfig:
    return AugmentationConfig(**{**NONE, **changes})  # type: ignore[arg-type]


def _image(number: int = 5, channels: int = 4, px: int = 8) -> Tensor:
    draws = torch.Generator().manual_seed(1)
    alpha = torch.rand(number, 1, px, px, generator=draws, dtype=torch.float64)
    rgb = torch.rand(number, 3, px, px, generator=draws, dtype=torch.float64)
    return torch.cat([rgb * alpha, alpha], dim=1) if channels == 4 else rgb


def _draws(number: int, **amounts: float) -> Tensor:
    """Draws that apply every change, by the middle of each range where no amount is given."""
    draws = torch.full((number, 18), 0.5, dtype=torch.float64)
    draws[:, :AMOUNTS] = 0.0
    names = ("coin", "x", "y", "size", "turn", "brightness", "contrast", "saturation", "hole_x", "hole_y")
    for name, amount in amounts.items():
        draws[:, AMOUNTS + names.index(name)] = amount
    return draws


def test_probability_0_is_the_identity() -> None:
    image = _image()
    assert augmented(image, augmentation_draws(torch.arange(5), 0, 0, "real"), 0.0, AugmentationConfig()) is image


def test_a_sample_that_draws_no_change_is_exactly_itself() -> None:
    image = _image(400).float()
    draws = augmentation_draws(torch.arange(400), 0, 0, "real")
    spared = (draws[:, :AMOUNTS] >= 0.3).all(dim=1)
    found = augmented(image, draws, 0.3, AugmentationConfig())
    assert 5 < int(spared.sum()) < 60  # 0.7^8 of them
    assert torch.equal(found[spared], image[spared])
    assert (found[~spared] != image[~spared]).flatten(1).any(dim=1).float().mean() > 0.9


def test_mirror_is_a_flip() -> None:
    image = _image()
    assert torch.equal(augmented(image, _draws(5, coin=0.4), 1.0, _only(mirror=True)), image.flip(-1))
    assert torch.equal(augmented(image, _draws(5, coin=0.6), 1.0, _only(mirror=True)), image)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_shifts_are_whole_pixels(fill: float) -> None:
    image = _image()
    found = augmented(image, _draws(5, x=0.99, y=0.2), 1.0, _only(shift=0.25, fill=fill))  # 2 px right, 1 px up
    expected = torch.full_like(image, fill)
    expected[..., :-1, 2:] = image[..., 1:, :-2]
    assert torch.equal(found, expected)


def test_rotation_and_scale_move_a_point() -> None:
    image = torch.zeros(1, 4, 33, 33, dtype=torch.float64)
    image[..., 12, 26] = 1.0  # 10 px right of the centre, 4 px above
    turned = augmented(image, _draws(1, turn=1.0), 1.0, _only(rotation_deg=90.0))
    assert (turned[0, 0] > 0.99).nonzero().tolist() == [[26, 20]]  # a quarter turn clockwise: rows grow downwards
    larger = augmented(torch.ones(1, 4, 32, 32).double(), _draws(1, size=0.1), 1.0, _only(scale=1.0))
    side = 32 * 2 ** float(torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(0.1).double()))
    assert float(larger[0, 0].sum()) == pytest.approx(side**2, rel=0.1)
    torch.testing.assert_close(larger[0, 0], larger[0, 0].T)


def test_colours_change_under_alpha_as_without_it() -> None:
    image = _image()
    rgb, alpha = image[:, :3] / image[:, 3:], image[:, 3:]
    config = _only(brightness=0.2, contrast=0.5, saturation=1.0)
    draws = _draws(5, brightness=0.8, contrast=0.7, saturation=0.3)
    plain = augmented(rgb, draws, 1.0, config)
    found = augmented(image, draws, 1.0, config)
    torch.testing.assert_close(found[:, :3], plain * alpha)
    assert torch.equal(found[:, 3:], alpha)
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor([0.8, 0.7, 0.3]).double())
    expected = (rgb + 0.2 * normal[0] - 0.5) * 2 ** (0.5 * normal[1]) + 0.5
    grey = expected.mean(dim=1, keepdim=True)
    torch.testing.assert_close(plain, grey + (expected - grey) * 2 ** normal[2])


def test_cutout_erases_a_square() -> None:
    image = torch.full((2, 4, 16, 16), 0.7)
    found = augmented(image, _draws(2, hole_x=0.5, hole_y=0.0).float(), 1.0, _only(cutout=0.5))
    expected = image.clone()
    expected[..., :4, 4:12] = 0.0
    assert torch.equal(found, expected)


def test_draws_belong_to_samples() -> None:
    keys = torch.arange(200) * 2**40
    draws = augmentation_draws(keys, seed=1, step=2, purpose="real")
    assert torch.equal(augmentation_draws(keys[50:60], 1, 2, "real"), draws[50:60])
    for other in (augmentation_draws(keys, 1, 3, "real"), augmentation_draws(keys, 1, 2, "seen")):
        assert abs(float(torch.corrcoef(torch.stack([draws.flatten(), other.flatten()]))[0, 1])) < 0.05
    correlations = torch.corrcoef(draws.T) - torch.eye(draws.shape[1])
    assert float(correlations.abs().max()) < 0.35
    image = _image(200)
    whole = augmented(image, draws, 0.5, AugmentationConfig())
    torch.testing.assert_close(augmented(image[50:60], draws[50:60], 0.5, AugmentationConfig()), whole[50:60])


def test_the_mean_over_draws_stays_near_the_image() -> None:
    """Of 8 changes with p = 0.02 a sample escapes all with 0.98^8 = 0.85: what the rest adds is small."""
    image = _image(1).expand(4000, -1, -1, -1)
    draws = augmentation_draws(torch.arange(4000), 0, 0, "real")
    config = AugmentationConfig()
    changed = (draws[:, :AMOUNTS] < 0.02).any(dim=1).float().mean()
    assert float(changed) == pytest.approx(1 - 0.98**8, abs=0.02)
    off = [float((augmented(image, draws, p, config).mean(0) - image[0]).abs().mean()) for p in (0.02, 0.2)]
    assert off[0] < 0.02
    assert 5 * off[0] < off[1] < 0.2


def test_below_1_the_image_is_what_is_seen_most() -> None:
    """The most frequent place of a point is its own one, so what is changed can be told from what is not."""
    image = torch.zeros(1, 4, 17, 17)
    image[..., 8, 12] = 1.0
    draws = augmentation_draws(torch.arange(2000), 0, 0, "real")
    config = _only(mirror=True, shift=0.125)
    mean = augmented(image.expand(2000, -1, -1, -1), draws, 0.8, config)[:, 0].mean(dim=0)
    assert divmod(int(mean.argmax()), 17) == (8, 12)


@pytest.mark.parametrize("channels", [3, 4])
def test_gradients(channels: int) -> None:
    image = _image(2, channels, 5).requires_grad_()
    draws = augmentation_draws(torch.arange(2), 0, 0, "real")
    assert torch.autograd.gradcheck(lambda x: augmented(x, draws, 1.0, AugmentationConfig()), image)


def test_r1_is_differentiated_through_it() -> None:
    """D(T(x)) of a linear D: the penalty is |T^t w|^2, which a dense matrix of T confirms."""
    weight = torch.randn(4, 5, 5, dtype=torch.float64, requires_grad=True)
    draws, config = augmentation_draws(torch.arange(1), 0, 0, "real"), AugmentationConfig()
    real = _image(1, 4, 5)

    def change(x: Tensor) -> Tensor:
        return augmented(x, draws.expand(len(x), -1), 1.0, config)

    penalty = r1_penalty(lambda x: (change(x) * weight).flatten(1).sum(dim=1), real)
    basis = torch.eye(100, dtype=torch.float64).unflatten(1, (4, 5, 5))
    offset = change(torch.zeros(1, 4, 5, 5).double())
    matrix = (change(basis) - offset).flatten(1)
    expected = (matrix @ weight.flatten()).square().sum()
    torch.testing.assert_close(penalty[0], expected)
    (ours,), (theirs,) = torch.autograd.grad(penalty.sum(), weight), torch.autograd.grad(expected, weight)
    torch.testing.assert_close(ours, theirs)


def test_half_precision_is_not_used_for_places() -> None:
    image = _image(3).bfloat16()
    found = augmented(image, augmentation_draws(torch.arange(3), 0, 0, "real"), 1.0, AugmentationConfig())
    assert found.dtype == torch.float32


def test_impossible_sizes_are_refused() -> None:
    for changes in ({"scale": -1.0}, {"cutout": 1.0}, {"shift": math.inf}):
        with pytest.raises(ConfigError, match="impossible augmentation"):
            AugmentationConfig(**changes)  # type: ignore[arg-type]
