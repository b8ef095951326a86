"""The Fréchet distance to a whole training set, with a gradient that does not fade (adaptive-gradient paper, 40-47).

A batch badly underestimates the covariance. So the real images' moments are computed once, over the training set, and
fixed; the rendered images' are averaged over steps. The value is that of these averages. Their derivative is passed to
the batch in full, as if the batch alone were averaged: every rendered image is a draw from the distribution whose
distance is wanted, and contributes the derivative at that distribution. Passing only the batch's share of the average,
1 - decay, would let the gradient fade as the average converges.

The covariances' root is computed in the k leading principal directions of the real features. With S_real = A A' (A: D x
k) the nonzero eigenvalues of S_real S_pred are those of A' S_pred A, so a step decomposes one k x k matrix. Features
are projected by A once; no D x D matrix of rendered features is formed. It is exact if the real features span k
dimensions, and otherwise omits a positive part of the root's trace: an upper bound.

Everything is computed in float64.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core import collectives
from raylift.core.errors import ConfigError
from raylift.losses.frechet import mean_distance, trace_sqrt


class RealMoments(nn.Module):
    """Mean and covariance of the real features, collected over some steps and then fixed; in buffers.

    Args:
        num_features: D.
        rank: k, number of leading principal directions, at most D.

    Attributes:
        count: number of features collected.
        mean, trace: u_real and Tr sigma_real of the fixed moments.
        root: A [D, k] with A A' = sigma_real in its leading directions.
        is_fixed: whether the moments are fixed.

    Raises:
        ConfigError: no directions.
    """

    count: Tensor
    second: Tensor
    mean: Tensor
    trace: Tensor
    root: Tensor
    is_fixed: Tensor

    def __init__(self, num_features: int, rank: int = 256) -> None:
        super().__init__()
        if rank < 1:
            raise ConfigError(f"the Fréchet distance has rank {rank}", "use a rank of 1 or more; 256 is usual")
        self.rank = min(rank, num_features)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("second", torch.zeros(num_features, num_features, dtype=torch.float64))
        self.register_buffer("trace", torch.zeros((), dtype=torch.float64))
        self.register_buffer("root", torch.zeros(num_features, self.rank, dtype=torch.float64))
        self.register_buffer("is_fixed", torch.tensor(False))

    @torch.no_grad()
    def collect(self, features: Float[Tensor, "N D"]) -> None:
        """Add a (global) batch: the same features on every rank, see ``collectives.gather_rows``."""
        x = features.double()
        self.count += len(x)
        self.mean += x.sum(dim=0)
        self.second += x.mT @ x

    @torch.no_grad()
    def fix(self) -> None:
        """Compute the moments of the collected features, and their root: one D x D decomposition per run."""
        self.mean /= self.count
        covariance = self.second / self.count - torch.outer(self.mean, self.mean)
        self.trace.copy_(covariance.trace())
        values, vectors = torch.linalg.eigh(covariance)
        self.root.copy_(vectors[:, -self.rank :] * values[-self.rank :].clamp(min=0).sqrt())
        self.second.zero_()
        self.is_fixed.fill_(True)


class RenderedMoments(nn.Module):
    """Exponential averages of the rendered features' moments, in buffers.

    Args:
        num_features: D.
        rank: k of the ``RealMoments``.
        decay: weight of the past, in [0, 1).

    Raises:
        ConfigError: an impossible decay.
    """

    first: Tensor
    square: Tensor
    projected: Tensor
    weight: Tensor

    def __init__(self, num_features: int, rank: int, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ConfigError(f"the running moments have decay {decay}", "use a decay of at least 0 and below 1")
        size = min(rank, num_features)
        self.decay = decay
        self.register_buffer("first", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("square", torch.zeros((), dtype=torch.float64))
        self.register_buffer("projected", torch.zeros(size, size, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))

    def distance(self, features: Float[Tensor, "N D"], real: RealMoments) -> Float[Tensor, ""]:
        """L_fid of the averages with this (global) batch mixed in, with the batch's gradient in full."""
        first, square, projected = (
            mixed.detach() / weight + own - own.detach() for mixed, own, weight in self._next(features, real)
        )
        place = first @ real.root
        spread = real.trace + square - first.square().sum()
        root = trace_sqrt(projected - torch.outer(place, place))
        return mean_distance(first, real.mean) + spread - 2 * root

    @torch.no_grad()
    def update(self, features: Float[Tensor, "N D"], real: RealMoments) -> None:
        """Add this (global) batch; every rank must call it with the same features."""
        (first, _, weight), (square, _, _), (projected, _, _) = self._next(features, real)
        self.first.copy_(first)
        self.square.copy_(square)
        self.projected.copy_(projected)
        self.weight.copy_(weight)

    def _next(self, features: Tensor, real: RealMoments) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each moment: the average with the batch mixed in, the batch's own, and the sum of weights."""
        x, new = features.double(), 1 - self.decay
        z = x @ real.root
        # Weights sum to 1 - decay^steps; dividing by their sum gives the first batches full weight.
        weight = self.decay * self.weight + new
        own = (x.mean(dim=0), x.square().sum(dim=1).mean(), z.mT @ z / len(z))
        kept = (self.first, self.square, self.projected)
        return [(self.decay * old + new * value, value, weight) for old, value in zip(kept, own, strict=True)]


def running_frechet_share(
    rendered: Float[Tensor, "N D"], real: RealMoments, moments: RenderedMoments
) -> Float[Tensor, ""]:
    """This rank's share of L_fid: every rank computes the whole and contributes an equal part (law 1).

    Args:
        rendered: this rank's features; pass all ranks' to ``moments.update`` once per step, after the loss.
        real: fixed moments; until they are fixed, the share is 0, with a gradient of 0.
    """
    if not bool(real.is_fixed):
        return rendered.double().sum() * 0
    return moments.distance(collectives.gather_rows(rendered), real) / collectives.world_size()
