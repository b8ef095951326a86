"""The plane through a few points: the tangent plane, if they are on a surface."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def fitted_planes(points: Float[Tensor, "*B K 3"]) -> tuple[Float[Tensor, "*B 3"], Float[Tensor, "*B 3"]]:
    """The mean of the points and the unit direction in which they vary least; its sign has no meaning.

    The direction is 0 if the plane is undetermined: fewer than three points, or collinear points.
    """
    center = points.mean(-2)
    away = (points - center[..., None, :]).double()
    values, directions = torch.linalg.eigh(away.mT @ away)
    # On a line two directions vary equally little. The threshold suits points stored in steps of 1/32767.
    known = values[..., 1] > 1e-3 * values[..., 2]
    known &= values[..., 2] > 0
    normal = torch.where(known[..., None], directions[..., 0], 0.0)
    return center, normal.to(points.dtype)
