"""The posterior over categories, its calibration, and the scores of categories that were not fitted."""

from __future__ import annotations

import pytest
import torch

from raylift.core.errors import DataError
from raylift.models.dmnt.inference.posterior import ClassPosterior, filled_scores


def test_log_probabilities_sum_to_one_with_none_of_them() -> None:
    posterior = ClassPosterior(0.01, 0.02)
    scores = torch.tensor([[0.05, 0.01, -torch.inf], [0.0, 0.001, 0.002]])
    found = posterior(scores)
    assert found.shape == (2, 4)
    assert torch.allclose(found.exp().sum(1), torch.ones(2))
    assert found.argmax(1).tolist() == [0, 3]
    assert found[0, 2] == -torch.inf
    expected = (torch.tensor(0.05 - 0.02) / 0.01).exp()
    assert torch.allclose((found[0, 0] - found[0, 3]).exp(), expected)


def test_calibration_finds_planted_temperature_and_offset() -> None:
    """Labels drawn from a posterior of known temperature; one that is too sure or too unsure fits them worse."""
    draws = torch.Generator().manual_seed(0)
    scores = 0.05 * torch.rand(2000, 3, generator=draws)
    truth = ClassPosterior(0.02, 0.03)
    label = torch.multinomial(truth(scores).exp(), 1, generator=draws)[:, 0]
    category = torch.where(label == 3, -1, label)
    found = ClassPosterior(1.0, -1.0)
    found.calibrate(scores, category)
    assert float(found.temperature) == pytest.approx(0.02, rel=0.2)
    assert float(found.none_score) == pytest.approx(0.03, abs=0.004)
    assert set(found.state_dict()) == {"temperature", "none_score"}


def test_calibration_without_strangers_keeps_their_score() -> None:
    posterior = ClassPosterior(1.0, 0.02)
    posterior.calibrate(torch.tensor([[0.1, 0.0], [0.0, 0.1]]), torch.tensor([0, 1]))
    assert float(posterior.none_score) == pytest.approx(0.02)
    assert posterior(torch.tensor([[0.1, 0.0]])).exp()[0, 0] > 0.99
    with pytest.raises(DataError, match="calibrate"):
        posterior.calibrate(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))


def test_a_category_that_was_not_fitted_never_beats_a_fitted_one() -> None:
    proposed = torch.tensor([[0.3, 0.2, 0.1, -torch.inf]])
    found = filled_scores(torch.tensor([[0.05, 0.04]]), torch.tensor([[0, 1]]), proposed)
    assert torch.allclose(found[0, :3], torch.tensor([0.05, 0.04, 0.04 - 0.1]))
    assert found[0, 3] == -torch.inf
    told = filled_scores(torch.tensor([[0.05]]), torch.tensor([[2]]), proposed)
    assert torch.allclose(told[0, :3], torch.tensor([0.05, 0.05, 0.05]))
