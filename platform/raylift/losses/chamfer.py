"""Chamfer distances between batches of point sets, in both directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST = 1e-4
"""World units: below it a distance counts as its square, so that its gradient is finite at 0."""


def chamfer_distances(
    points: Float[Tensor, "B N 3"], targets: Float[Tensor, "B M 3"]
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B M"]]:
    """Distance from each point to the nearest target, and from each target to the nearest point.

    Which one is the nearest counts as constant. Memory and time grow with N M; both ways share one table.

    Returns:
        World units, sqrt(d^2 + 1e-8) each; differentiable in both sets.
    """
    with torch.no_grad():
        table = torch.cdist(points, targets)
        of_points, of_targets = table.argmin(dim=2), table.argmin(dim=1)
    return _gaps(points, _picked(targets, of_points)), _gaps(targets, _picked(points, of_targets))


def _picked(points: Float[Tensor, "B N 3"], index: Tensor) -> Tensor:
    return points.gather(1, index[..., None].expand(-1, -1, 3))


def _gaps(first: Tensor, second: Tensor) -> Tensor:
    return ((first - second).square().sum(dim=-1) + SHORTEST**2).sqrt()
