"""The posterior over categories and "none of them", and its calibration."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from raylift.core.errors import DataError

LEAST_LOGIT = -1e6
"""Keeps the cross-entropy finite where the true category was impossible."""


class ClassPosterior(nn.Module):
    """A softmax over the scores of C fits and a constant score of "none of them".

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

    @torch.no_grad()
    def calibrate(self, scores: Float[Tensor, "B C"], category: Int[Tensor, "B"]) -> None:
        """Set both buffers to those of least cross-entropy on validation images, on a grid.

        Args:
            scores: as in ``forward``.
            category: true index; -1 for none of them. Without such images ``none_score`` keeps its value.

        Raises:
            DataError: no image.
        """
        if not len(scores):
            raise DataError("no image to calibrate the class posterior on", "use a validation split that is not empty")
        finite = scores[torch.isfinite(scores)].double()
        spread = float(finite.max() - finite.min()) or 1.0
        temperatures = spread * torch.logspace(-4, 1, 100, dtype=torch.float64, device=scores.device)
        offsets = torch.linspace(-1, 1, 100, dtype=torch.float64, device=scores.device) * spread + finite.max()
        if not bool((category < 0).any()):
            offsets = self.none_score.double()[None]
        truth = torch.where(category < 0, scores.shape[1], category)
        losses = torch.stack([_losses(scores.double(), truth, offset, temperatures) for offset in offsets])
        best = int(losses.argmin())
        self.none_score.fill_(float(offsets[best // len(temperatures)]))
        self.temperature.fill_(float(temperatures[best % len(temperatures)]))


def _losses(
    scores: Float[Tensor, "B C"], truth: Int[Tensor, "B"], offset: Float[Tensor, ""], temperatures: Float[Tensor, "T"]
) -> Float[Tensor, "T"]:
    """Cross-entropy at each temperature."""
    together = torch.cat([scores, offset.expand(len(scores), 1)], 1)
    logits = (together / temperatures[:, None, None]).clamp(min=LEAST_LOGIT)
    right = logits.gather(2, truth.expand(len(temperatures), -1)[..., None])[..., 0]
    return (logits.logsumexp(2) - right).mean(1)


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
