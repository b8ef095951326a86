"""Several symmetric meshes that deform smoothly: V = base + (I + stiffness L)^-1 u, u the parameters."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.generators import torch_generator
from raylift.geometry.icosphere import symmetric_icosphere
from raylift.geometry.laplacian import adjacency

StartName = Literal["long", "tall", "ball"]
START_RADII: dict[StartName, tuple[float, float, float]] = {
    "long": (0.5, 0.5, 1.0),
    "tall": (0.7, 1.0, 0.7),
    "ball": (1.0, 1.0, 1.0),
}
"""Radii along x (across the mirror plane), y (up) and z, relative to the longest."""


class StiffMesh(nn.Module):
    """S meshes of one topology, each from an ellipsoid with smooth noise, all symmetric about x = 0.

    A vertex cannot move alone: u is smoothed by (I + stiffness L)^-1, L = D - A the graph Laplacian of the icosphere.
    So images with wrong poses cannot be explained one by one, and consistent poses win.

    Args:
        level: subdivision level of the icosphere.
        stiffness: factor of L.
        starts: initial ellipsoid of each mesh.
        noise: standard deviation of each mesh's smooth noise, world units.
        seed: seed of the noise; each mesh has its own draws.
    """

    base: Tensor
    smoothing: Tensor
    source: Tensor
    reflection: Tensor
    faces: Tensor

    def __init__(self, level: int, stiffness: float, starts: tuple[StartName, ...], noise: float, seed: int) -> None:
        super().__init__()
        sphere = symmetric_icosphere(level)
        count = len(sphere.vertices)
        neighbours = adjacency(sphere.faces, count)
        laplacian = torch.diag(neighbours.degree.double())
        first, second = neighbours.edges.unbind(1)
        laplacian[first, second] = laplacian[second, first] = -1.0
        smoothing = torch.linalg.inv(torch.eye(count, dtype=torch.float64) + stiffness * laplacian)
        bases = []
        for index, start in enumerate(starts):
            draws = torch_generator(seed, "stiff mesh", index)
            bumps = smoothing @ torch.randn(count, 3, generator=draws, dtype=torch.float64)
            bumps = sphere.expand(sphere.restrict(bumps))
            bumps = bumps * (noise / bumps.std().clamp(min=1e-9))
            bases.append((sphere.vertices * torch.tensor(START_RADII[start]) + bumps).float())
        self.u = nn.Parameter(torch.zeros(len(starts), sphere.num_predicted, 3))
        self.register_buffer("base", torch.stack(bases), persistent=False)
        self.register_buffer("smoothing", smoothing.float(), persistent=False)
        self.register_buffer("source", sphere.source, persistent=False)
        self.register_buffer("reflection", sphere.reflection, persistent=False)
        self.register_buffer("faces", sphere.faces, persistent=False)

    def forward(self) -> Float[Tensor, "S V 3"]:
        """The meshes' vertices."""
        whole = self.u[:, self.source] * self.reflection
        return self.base + self.smoothing @ whole
