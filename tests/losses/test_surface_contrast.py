"""The contrastive loss of surfaces, against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from raylift.core.errors import ConfigError
from raylift.losses.surface_contrast import Candidates, ContrastWeights, surface_contrast_loss

B, S, K, M, P, D = 2, 3, 4, 5, 6, 8
T = 0.1


def unit(*shape: int, seed: int) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return normalize(torch.randn(*shape, D, generator=draws, dtype=torch.float64), dim=-1)


def some(**changes: Tensor) -> Candidates:
    values = {
        "positive": unit(B, S, seed=1),
        "same": unit(B, K, seed=2),
        "same_counts": torch.ones(B, S, K, dtype=torch.bool),
        "other": unit(M, seed=3),
        "other_counts": torch.ones(B, M, dtype=torch.bool),
        "background": unit(P, seed=4),
        "background_counts": torch.ones(P, dtype=torch.bool),
    }
    return Candidates(**{**values, **changes})


def test_equal_weights_are_a_cross_entropy_over_all_candidates() -> None:
    features, given = unit(B, S, seed=0), some()
    found = surface_contrast_loss(features, given, ContrastWeights(background=1.0), T)
    for image in range(B):
        bank = torch.cat([given.same[image], given.other, given.background])
        own = (features[image] * given.positive[image]).sum(dim=-1, keepdim=True)
        logits = torch.cat([own, features[image] @ bank.mT], dim=1) / T
        wanted = cross_entropy(logits, torch.zeros(S, dtype=torch.long), reduction="none")
        torch.testing.assert_close(found.loss[image], wanted)
        shares = logits.softmax(dim=1).split([1, K, M, P], dim=1)
        torch.testing.assert_close(found.masses[image], torch.stack([part.sum(dim=1) for part in shares], dim=1))


def test_a_weight_counts_candidates() -> None:
    """A background weight of 2 is the background listed twice; 0 leaves it out."""
    features, given = unit(B, S, seed=0), some()
    twice = some(background=given.background.repeat(2, 1), background_counts=given.background_counts.repeat(2))
    ours = surface_contrast_loss(features, given, ContrastWeights(background=2.0), T).loss
    torch.testing.assert_close(ours, surface_contrast_loss(features, twice, ContrastWeights(background=1.0), T).loss)
    none = some(background=given.background[:0], background_counts=given.background_counts[:0])
    ours = surface_contrast_loss(features, given, ContrastWeights(background=0.0), T).loss
    torch.testing.assert_close(ours, surface_contrast_loss(features, none, ContrastWeights(), T).loss)


def test_the_pull_scales_the_own_place_alone() -> None:
    features, given = unit(B, S, seed=0), some()
    own = (features * given.positive).sum(dim=-1) / T
    gap = (
        surface_contrast_loss(features, given, ContrastWeights(pull=3.0), T).loss
        - surface_contrast_loss(features, given, ContrastWeights(), T).loss
    )
    torch.testing.assert_close(gap, -2 * own)


@pytest.mark.parametrize("kind", ["same", "other", "background"])
def test_what_does_not_count_has_no_say(kind: str) -> None:
    counts = getattr(some(), f"{kind}_counts").clone()
    counts[..., 0] = False
    features = unit(B, S, seed=0).requires_grad_()
    changed = getattr(some(), kind).clone()
    changed[..., 0, :] = unit(seed=9)
    ours, theirs = some(**{f"{kind}_counts": counts}), some(**{f"{kind}_counts": counts, kind: changed})
    loss = surface_contrast_loss(features, ours, ContrastWeights(), T).loss
    torch.testing.assert_close(loss, surface_contrast_loss(features, theirs, ContrastWeights(), T).loss)
    assert bool((loss < surface_contrast_loss(features, some(), ContrastWeights(), T).loss).all())


def test_without_candidates_loss_and_gradient_are_zero() -> None:
    empty = {
        "same_counts": torch.zeros(B, S, K, dtype=torch.bool),
        "other_counts": torch.zeros(B, M, dtype=torch.bool),
        "background_counts": torch.zeros(P, dtype=torch.bool),
    }
    features = unit(B, S, seed=0).requires_grad_()
    loss = surface_contrast_loss(features, some(**empty), ContrastWeights(), T).loss
    (slope,) = torch.autograd.grad(loss.sum(), features)
    assert not loss.any()
    assert not slope.any()


def test_the_background_counts_as_much_as_one_category_by_the_appendix() -> None:
    """W_BG = 0.1 of 2000 features that all look the same is one category's 200."""
    features = unit(1, 1, seed=0)
    alike = features.expand(1, 1, D)[0]
    given = Candidates(
        positive=features,
        same=features[:, :0],
        same_counts=torch.zeros(1, 1, 0, dtype=torch.bool),
        other=alike.expand(200, D),
        other_counts=torch.ones(1, 200, dtype=torch.bool),
        background=alike.expand(2000, D),
        background_counts=torch.ones(2000, dtype=torch.bool),
    )
    found = surface_contrast_loss(features, given, ContrastWeights(), 0.07)
    assert found.loss.item() == pytest.approx(math.log(401))
    assert found.masses[0, 0, 2].item() == pytest.approx(found.masses[0, 0, 3].item())


def test_impossible_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="weights"):
        ContrastWeights(pull=0.0)
