"""Vertex offsets whose gradients spread over the surface: large steps without spikes (Nicolet et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import splu
from torch import Tensor

from raylift.geometry.laplacian import Adjacency


class SmoothOffsets:
    """offsets = (I + lambda L)^-1 latent, L = D - A the graph Laplacian of a mesh; differentiable.

    A step of the latent by its own gradient is a step of the offsets by (I + lambda L)^-2 of theirs.

    Args:
        mesh: adjacency of the mesh.
        smoothness: lambda; 0 leaves the latent as it is.
    """

    def __init__(self, mesh: Adjacency, smoothness: float) -> None:
        self._solve: Any = None
        if smoothness > 0:
            first, second = mesh.edges.cpu().numpy().T
            count = len(mesh.degree)
            rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
            beside = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(count, count))
            degree = coo_matrix((mesh.degree.cpu().numpy().astype(float), (np.arange(count), np.arange(count))))
            self._solve = splu((identity(count) + smoothness * (degree - beside)).tocsc()).solve

    def __call__(self, latent: Float[Tensor, "V 3"]) -> Float[Tensor, "V 3"]:
        """The offsets."""
        if self._solve is None:
            return latent
        offsets: Tensor = _Solve.apply(latent, self._solve)
        return offsets


class _Solve(torch.autograd.Function):
    """A solve with a symmetric matrix: its own transpose is the gradient."""

    @staticmethod
    def forward(ctx: Any, right: Tensor, solve: Any) -> Tensor:
        ctx.solve = solve
        return _solved(right, solve)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _solved(gradient, ctx.solve), None


def _solved(right: Tensor, solve: Any) -> Tensor:
    return torch.from_numpy(solve(right.detach().double().cpu().numpy())).to(right)
