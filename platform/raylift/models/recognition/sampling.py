"""Draws of anchors and regions that belong to samples (law 3).

torchvision draws them from the process's own generator, so its losses depend on which images share a worker, and a
resumed run would draw others. Here each image's draw is keyed by (seed, step, image, purpose).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from raylift.core.device_copies import numbers_of, upload
from raylift.core.generators import torch_generator


@dataclass(frozen=True)
class DrawKey:
    """What draws of a step are keyed by.

    Attributes:
        seed, step: of the run.
        keys: of the samples.
    """

    seed: int
    step: int
    keys: Int[Tensor, "B"]


def drawn_balanced(
    positive: Bool[Tensor, "B N"],
    negative: Bool[Tensor, "B N"],
    num: int,
    most_positive: float,
    key: DrawKey,
    what: str,
) -> Bool[Tensor, "B N"]:
    """Which of each image's N candidates are drawn: at most ``num``, of which at most a fraction is positive.

    As torchvision's sampler, negatives fill what positives leave; candidates that are neither are never drawn.
    """
    rows = zip(positive, negative, numbers_of(key.keys), strict=True)
    return torch.stack([_drawn(*row, num, int(num * most_positive), key, what) for row in rows])


def _drawn(
    positive: Tensor, negative: Tensor, sample: int, num: int, most_positive: int, key: DrawKey, what: str
) -> Tensor:
    order = torch_generator(key.seed, key.step, sample, "recognition", what)
    # Candidates of one image differ in number between steps only, so an order of all of them is as keyed as any.
    rank = upload(torch.rand(len(positive), generator=order, dtype=torch.float64), positive.device)
    picked = _first(positive, rank, most_positive)
    return picked | _first(negative, rank, num - int(picked.sum()))


def _first(among: Tensor, rank: Tensor, count: int) -> Tensor:
    """The ``count`` of lowest rank among some candidates, or all of them."""
    chosen = torch.where(among, rank, torch.inf).argsort()[: min(count, int(among.sum()))]
    return torch.zeros_like(among).index_fill_(0, chosen, True)
