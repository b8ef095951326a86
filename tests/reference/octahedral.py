"""The octahedral chart from directions to the square, which the package only needs the other way round."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def uvs_of(directions: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 2"]:
    """Chart coordinates in [0, 1]^2 of directions of any length above 0; -Y is (1, 0)."""
    x, y, z = (directions / directions.abs().sum(dim=-1, keepdim=True)).unbind(-1)
    a, b = x, -z
    below = y < 0
    folded_a, folded_b = _side(a) * (1 - b.abs()), _side(b) * (1 - a.abs())
    return 0.5 + 0.5 * torch.stack([torch.where(below, folded_a, a), torch.where(below, folded_b, b)], dim=-1)


def _side(value: Tensor) -> Tensor:
    return torch.where(value < 0, -torch.ones_like(value), torch.ones_like(value))
