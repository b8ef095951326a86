"""The probability of augmentation: where it moves, how fast, and that ranks agree on it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.core.collectives import rank, world_size
from raylift.core.errors import ConfigError
from raylift.networks.discriminators.adaptive import AdaptiveAugmentation, AdaptiveConfig


def test_it_grows_while_the_discriminator_is_surer_than_the_target() -> None:
    augment = AdaptiveAugmentation(AdaptiveConfig(speed_images=1000, every=2, initial=0.5))
    sure, unsure = torch.tensor([3.0, 2.0, 5.0, 1.0]), torch.tensor([3.0, -2.0, -5.0, 1.0])
    augment.update(sure)
    assert float(augment.probability) == 0.5  # not yet: measured over two updates
    augment.update(sure)
    assert float(augment.probability) == pytest.approx(0.508)  # 8 images of 1000
    assert float(augment.real_sign) == 1.0
    for _ in range(4):
        augment.update(unsure)
    assert float(augment.probability) == pytest.approx(0.492)
    assert float(augment.real_sign) == 0.0


def test_it_stays_in_its_range() -> None:
    augment = AdaptiveAugmentation(AdaptiveConfig(speed_images=10, every=1, highest=0.7))
    augment.update(-torch.ones(4))
    assert float(augment.probability) == 0.0
    for _ in range(4):
        augment.update(torch.ones(4))
    assert float(augment.probability) == pytest.approx(0.7)


def test_without_a_target_it_is_fixed_and_still_measured() -> None:
    augment = AdaptiveAugmentation(AdaptiveConfig(target=0.0, initial=0.3, speed_images=10, every=1))
    augment.update(torch.ones(4))
    assert float(augment.probability) == pytest.approx(0.3)
    assert float(augment.real_sign) == 1.0


def test_it_starts_as_the_identity_and_changes_images_later() -> None:
    augment = AdaptiveAugmentation(AdaptiveConfig(speed_images=10, every=1))
    image, keys = torch.rand(8, 4, 16, 16), torch.arange(8)
    assert augment(image, keys, 0, 0, "real") is image
    augment.update(torch.ones(8))
    found = augment(image, keys, 0, 0, "real")
    assert not torch.equal(found, image)
    assert torch.equal(augment(image[2:4], keys[2:4], 0, 0, "real"), found[2:4])
    assert not torch.equal(augment(image, keys, 0, 0, "seen"), found)


def test_a_checkpoint_keeps_it() -> None:
    one, other = (AdaptiveAugmentation(AdaptiveConfig(speed_images=100, every=3)) for _ in range(2))
    for _ in range(4):
        one.update(torch.ones(5))
    other.load_state_dict(one.state_dict())
    for augment in (one, other):
        for _ in range(2):
            augment.update(torch.ones(5))
    assert float(other.probability) == float(one.probability) == pytest.approx(0.3)


def probabilities() -> Tensor:
    """p after each of 12 updates on this rank's part of 7 logits, as float64 models have them."""
    augment = AdaptiveAugmentation(AdaptiveConfig(speed_images=300, every=2))
    found = []
    for step in range(12):
        logits = torch.randn(7, generator=torch.Generator().manual_seed(step)) + 0.08 * step + 0.5
        augment.update(logits[rank() * 7 // world_size() : (rank() + 1) * 7 // world_size()])
        found.append(augment.probability.clone())
    return torch.stack(found)


def test_the_probability_moves() -> None:
    """On how many ranks makes no difference: ``tests/losses/test_world_size.py``."""
    assert len(probabilities().unique()) > 2


def test_impossible_configs_are_refused() -> None:
    for wrong in ({"initial": 0.9}, {"target": 1.0}, {"speed_images": 0}, {"every": 0}):
        with pytest.raises(ConfigError, match="adaptive augmentation"):
            AdaptiveConfig(**wrong)  # type: ignore[arg-type]
