"""Occluders pasted while training: how much they hide, what fills them, and that they leave the surface."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError
from raylift.core.step_info import StepInfo
from raylift.models import catalogue
from raylift.models.dmnt.model import DmntModel
from raylift.models.dmnt.pasting import PastingConfig, pasted
from raylift.testing.batches import CATEGORIES, synthetic_batch
from raylift.testing.gradients import wake

STEP = StepInfo(3, 8)
KEYS = torch.arange(12)
ALWAYS = PastingConfig(1.0)
OBJECT = 7.0
"""A colour that only objects have."""


def ellipses(px: int = 48) -> tuple[Tensor, Tensor]:
    """Images of ellipses of several places and sizes, and their masks."""
    axis = (torch.arange(px) + 0.5) / px
    draws = torch.rand(len(KEYS), 4, 1, 1, generator=torch.Generator().manual_seed(1))
    x, y = axis[None, None] - 0.3 - 0.4 * draws[:, 0], axis[None, :, None] - 0.3 - 0.4 * draws[:, 1]
    mask = ((x / (0.1 + 0.2 * draws[:, 2])) ** 2 + (y / (0.1 + 0.2 * draws[:, 3])) ** 2 < 1).float()[:, None]
    background = torch.rand(len(KEYS), 3, px, px, generator=torch.Generator().manual_seed(2))
    return torch.where(mask > 0, OBJECT, background), mask


@pytest.mark.parametrize("hidden", [(0.1, 0.15), (0.4, 0.6), (0.85, 0.9)])
def test_a_patch_hides_the_share_that_is_asked_for(hidden: tuple[float, float]) -> None:
    image, mask = ellipses()
    _, seen = pasted(image, mask, KEYS, PastingConfig(1.0, hidden), STEP)
    share = 1 - seen.sum((1, 2, 3)) / mask.sum((1, 2, 3))
    assert bool((share > hidden[0] - 0.03).all())
    assert bool((share < hidden[1] + 0.03).all())
    assert float(share.std()) > 0.2 * (hidden[1] - hidden[0])
    assert bool((seen <= mask).all())


def test_patches_show_no_object_and_change_nothing_else() -> None:
    """The object's colour is left where something is still seen of it; outside of patches nothing moves."""
    image, mask = ellipses()
    found, seen = pasted(image, mask, KEYS, ALWAYS, STEP)
    shows = found.amax(dim=1, keepdim=True) > 1
    assert torch.equal(shows, shows & (seen > 0))
    untouched = mask == seen
    assert bool((untouched & (mask > 0)).any())
    assert torch.equal(torch.where(untouched & (mask > 0), found, 0), torch.where(untouched & (mask > 0), image, 0))
    changed = (found != image).any(dim=1)
    assert 0.02 < float(changed.float().mean()) < 0.5
    assert bool((changed & (mask[:, 0] == 0)).flatten(1).any(dim=1).sum() > len(KEYS) // 2), "occluders stand out"


def test_patches_belong_to_their_sample() -> None:
    """The same alone, in another order, and whatever the others are; another step has other patches."""
    image, mask = ellipses()
    found, seen = pasted(image, mask, KEYS, ALWAYS, STEP)
    for picked in (torch.tensor([5]), torch.tensor([9, 2, 4])):
        again, seen_again = pasted(image[picked], mask[picked], KEYS[picked], ALWAYS, STEP)
        assert torch.equal(again, found[picked])
        assert torch.equal(seen_again, seen[picked])
    _, later = pasted(image, mask, KEYS, ALWAYS, StepInfo(4, 8))
    assert not bool((later == seen).flatten(1).all(dim=1).any())


def test_only_some_samples_get_one() -> None:
    image, mask = ellipses()
    found, seen = pasted(image, mask, KEYS, PastingConfig(0.5), STEP)
    covered = (seen != mask).flatten(1).any(dim=1)
    assert 0 < int(covered.sum()) < len(KEYS)
    assert torch.equal(found[~covered], image[~covered])
    same_image, same_mask = pasted(image, mask, KEYS, PastingConfig(), STEP)
    assert same_image is image
    assert same_mask is mask


def test_without_an_object_there_is_nothing_to_hide() -> None:
    image, mask = ellipses()
    found, seen = pasted(image, 0 * mask, KEYS, ALWAYS, STEP)
    assert torch.equal(found, image)
    assert not seen.any()


def carried(*overrides: str) -> dict[str, Tensor]:
    """What one step of the smallest recipe samples, with all cells sampled."""
    every = ("model.contrast.num_background=2000", "model.contrast.num_surface=300", "model.contrast.reading=direct")
    recipe = catalogue.get("dmnt/test", (*every, *overrides))
    model = catalogue.build_model(recipe, DatasetInfo(4, categories=CATEGORIES))
    assert isinstance(model, DmntModel)
    wake(model)
    return dict(model.train().losses("fit", synthetic_batch(model.request, 4), STEP, {}).carry)


def test_what_is_covered_leaves_the_surface_and_becomes_background() -> None:
    plain = carried()
    covered = carried("model.augmentation.paste.probability=1", "model.augmentation.paste.hidden=[0.5,0.6]")
    surface, fewer = (part["surface_valid"].sum(dim=1) for part in (plain, covered))
    assert bool((fewer < 0.8 * surface).all())
    background, more = (part["background_valid"].sum(dim=1) for part in (plain, covered))
    assert bool((more > background).all())


def test_impossible_options_are_refused() -> None:
    for probability, hidden in ((1.5, (0.1, 0.5)), (0.5, (0.0, 0.5)), (0.5, (0.6, 0.5)), (0.5, (0.1, 1.0))):
        with pytest.raises(ConfigError, match="paste"):
            PastingConfig(probability, hidden)
