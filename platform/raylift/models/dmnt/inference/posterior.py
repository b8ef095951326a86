"""The posterior over categories and "none of them"."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import log_softmax


class ClassPosterior(nn.Module):
    """A softmax over the scores of C fits and a constant score of "none of them".

    Both constants are the config's; ``metrics.recognition`` fits a further temperature to validation images.

    Attributes:
        temperature: divisor of scores.
        none_score: score of "none of them".
    """

    temperature: Float[Tensor, ""]
    none_score: Float[Tensor, ""]

    def __init__(self, temperature: float, none_score: float) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.tensor(temperature))
        self.register_buffer("none_score", torch.tensor(none_score))

    def forward(self, scores: Float[Tensor, "B C"]) -> Float[Tensor, "B C+1"]:
        """Log-probabilities; "none of them" is last.

        Args:
            scores: of each category's fit, mean gain over the image's pixels; -inf for categories that cannot be.
        """
        none = self.none_score.expand(len(scores), 1).to(scores)
        return log_softmax(torch.cat([scores, none], 1) / self.temperature.to(scores), dim=1)


def filled_scores(
    refined: Float[Tensor, "B K"], categories: Int[Tensor, "B K"], proposed: Float[Tensor, "B C"]
) -> Float[Tensor, "B C"]:
    """Scores of all categories from those that were fitted.

    A category that was not fitted gets the lowest fitted score minus its distance from it in the proposals: never more
    than any fitted one.

    Args:
        refined: scores of the fitted categories.
        categories: their indices.
        proposed: scores of all categories before the fit; -inf for those that cannot be.
    """
    last = proposed.gather(1, categories).amin(1, keepdim=True)
    rest = refined.amin(1, keepdim=True) + (proposed - last).clamp(max=0)
    return rest.scatter(1, categories, refined)
