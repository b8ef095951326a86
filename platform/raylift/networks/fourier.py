"""Random Fourier features of coordinates (Tancik et al. 2020; implicit paper, section 3.1)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.generators import torch_generator


def fourier_features(
    points: Float[Tensor, "*batch 3"], matrix: Float[Tensor, "size 3"]
) -> Float[Tensor, "*batch width"]:
    """Equation 1 of the implicit paper: gamma(p) = [cos(2 pi B p), sin(2 pi B p)].

    Args:
        points: world coordinates p.
        matrix: B, in cycles per world unit.

    Returns:
        2 * size channels: all cosines, then all sines.
    """
    phases = 2.0 * math.pi * (points @ matrix.T)
    return torch.cat([phases.cos(), phases.sin()], dim=-1)


class FourierEmbedding(nn.Module):
    """Equation 1 with a fixed B, drawn once from N(0, scale^2) for a seed; size 0 returns the plain coordinates.

    B is a buffer: it is not trained, and is saved in checkpoints.
    """

    def __init__(self, size: int, scale: float, seed: int) -> None:
        super().__init__()
        draws = torch.randn(size, 3, generator=torch_generator(seed, "fourier"), dtype=torch.float64)
        self.register_buffer("matrix", (scale * draws).to(torch.get_default_dtype()))
        self.width = 2 * size if size else 3

    def forward(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N width"]:
        matrix: Tensor = self.matrix  # type: ignore[assignment]
        return fourier_features(points, matrix) if matrix.shape[0] else points
