"""The contrastive loss of features on a surface (neural textured deformable meshes, appendix A.3 and figure 3).

Every feature f that an image shows of a surface is classified among candidates by their cosines: its own place in the
neural texture, places far from it on the same surface, places on other categories' surfaces, and background features.

The appendix names four weights without a formula: W_ML = 1, W_Com = 1, W_Class = 1, W_BG = 0.1. We read them as those
of the four kinds of candidates, in this order. NeMo, of the same authors, has a "maximum likelihood" term (f near its
place in the bank), contrast with other places ("Com", complementary ones) and contrast with the background; categories
are new here. 0.1 then makes the 2000 background features count as much as the 200 features of one category.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from raylift.core.device_copies import upload
from raylift.core.errors import ConfigError

_EXCLUDED = -1e9
"""Logit of what is no candidate: finite, so that a kind without candidates has no NaN."""


@dataclass(frozen=True)
class ContrastWeights:
    """Weights of the four kinds of candidates.

    Attributes:
        pull: W_ML, of the feature's own place.
        same: W_Com, of places far from it on the same surface.
        other: W_Class, of other categories' surfaces.
        background: W_BG, of the background and of clutter.
    """

    pull: float = 1.0
    same: float = 1.0
    other: float = 1.0
    background: float = 0.1

    def __post_init__(self) -> None:
        if self.pull <= 0 or min(self.same, self.other, self.background) < 0:
            raise ConfigError(
                f"contrastive weights {self.pull}, {self.same}, {self.other}, {self.background}",
                "use a pull above 0, and 0 or more for the others",
            )


@dataclass(frozen=True)
class Candidates:
    """What the S features of each of B images are compared with.

    Attributes:
        positive: the neural texture at each feature's place.
        same: K places on the surface of each image's category.
        same_counts: which of them are far enough from each feature, and seen.
        other: M places on surfaces of all categories.
        other_counts: which of them are of another category than the image's, and seen.
        background: P features of the background and of clutter.
        background_counts: which of them are there.
    """

    positive: Float[Tensor, "B S D"]
    same: Float[Tensor, "B K D"]
    same_counts: Bool[Tensor, "B S K"]
    other: Float[Tensor, "M D"]
    other_counts: Bool[Tensor, "B M"]
    background: Float[Tensor, "P D"]
    background_counts: Bool[Tensor, "P"]


@dataclass(frozen=True)
class SurfaceContrast:
    """The loss of each feature, and the probability of each kind of candidates: own place, same, other, background."""

    loss: Float[Tensor, "B S"]
    masses: Float[Tensor, "B S 4"]


def surface_contrast_loss(
    features: Float[Tensor, "B S D"], candidates: Candidates, weights: ContrastWeights, temperature: float
) -> SurfaceContrast:
    """-W_ML s / T + log(e^(s/T) + W_Com sum e^(s/T) + W_Class sum e^(s/T) + W_BG sum e^(s/T)), s = cosine (App. A.3).

    With W_ML = 1 it is the cross-entropy of f's own place among weighted candidates. A larger W_ML keeps pulling f
    towards its place when all others are far.

    Args:
        features: unit vectors.
        candidates: unit vectors too.
        temperature: T; the appendix has none, NeMo's is 0.07.
    """
    own = (features * candidates.positive).sum(dim=-1)[..., None] / temperature
    same = torch.einsum("bsd,bkd->bsk", features, candidates.same)
    other, background = features @ candidates.other.mT, features @ candidates.background.mT
    kinds = [
        own[..., 0],
        _kind(same / temperature, candidates.same_counts, weights.same),
        _kind(other / temperature, candidates.other_counts[:, None], weights.other),
        _kind(background / temperature, candidates.background_counts, weights.background),
    ]
    logits = torch.stack(kinds, dim=-1)
    return SurfaceContrast(logits.logsumexp(dim=-1) - weights.pull * own[..., 0], logits.detach().softmax(dim=-1))


def _kind(logits: Float[Tensor, "B S K"], counts: Tensor, weight: float) -> Float[Tensor, "B S"]:
    """log(weight sum of exponentials) of the candidates that count."""
    if weight == 0 or not logits.shape[-1]:
        return torch.full_like(logits[..., :1].sum(dim=-1), _EXCLUDED)
    found: Tensor = torch.where(counts, logits, torch.full_like(logits, _EXCLUDED)).logsumexp(dim=-1)
    return found + upload(torch.tensor(weight, dtype=logits.dtype).log(), logits.device)
