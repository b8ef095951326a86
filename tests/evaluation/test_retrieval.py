"""Retrieval scores: ties count as a random order, and every number of ranks gives the same."""

from __future__ import annotations

import pytest
import torch

from raylift.core.collectives import rank, world_size
from raylift.evaluation.retrieval import _hits, known_images, shared_words, validate_retrieval
from raylift.models import catalogue
from raylift.testing.ranks import run_ranks
from tests.models.captioned_samples import discs


def test_ties_are_broken_at_random() -> None:
    scores = torch.tensor([[3.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]])
    assert _hits(scores[:1], [0], 1) == 1
    assert _hits(scores[:1], [2], 1) == 0
    assert _hits(scores[:1], [2], 2) == pytest.approx(1 / 3)
    assert _hits(scores[1:2], [3], 1) == pytest.approx(1 / 4)
    assert _hits(scores[2:], [0], 5) == 1
    assert _hits(scores, [0, 3, 3], 1) == pytest.approx((1 + 0.25 + 1) / 3)


def test_captions_share_words() -> None:
    assert shared_words("A chair.", "a chair") == 1
    assert shared_words("a chair", "a wooden chair") == pytest.approx(2 / 3)
    assert shared_words("стул", "стол") == 0


def retrieved() -> dict[str, float]:
    """The scores of this rank's share of 14 discs."""
    model = catalogue.build_model(catalogue.get("image_text/test"))
    known = known_images([discs(32, range(rank(), 8, world_size()))])
    return validate_retrieval(model, [discs(32, range(100 + rank(), 114, world_size()))], known)  # type: ignore[arg-type]


def test_ranks_share_the_samples() -> None:
    alone = retrieved()
    assert alone["val/retrieval_samples"] == 14
    for found in run_ranks(2, retrieved):
        assert found == pytest.approx(alone)
