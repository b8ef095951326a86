"""The posterior over categories, and the scores of categories that were not fitted."""

from __future__ import annotations

import torch

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


def test_a_category_that_was_not_fitted_never_beats_a_fitted_one() -> None:
    proposed = torch.tensor([[0.3, 0.2, 0.1, -torch.inf]])
    found = filled_scores(torch.tensor([[0.05, 0.04]]), torch.tensor([[0, 1]]), proposed)
    assert torch.allclose(found[0, :3], torch.tensor([0.05, 0.04, 0.04 - 0.1]))
    assert found[0, 3] == -torch.inf
    told = filled_scores(torch.tensor([[0.05]]), torch.tensor([[2]]), proposed)
    assert torch.allclose(told[0, :3], torch.tensor([0.05, 0.05, 0.05]))
