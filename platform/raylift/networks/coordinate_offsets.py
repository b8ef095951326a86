"""The deformation of a category's template as a neural field (appendix A.2 of "Neural textured deformable meshes").

The paper's drawing of the network is all that is published, without sizes; these follow Common3D (five layers, sines
of ten octaves, small offsets), smaller.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.generators import torch_generator


class CategoryLinear(nn.Module):
    """One linear map per category, applied to samples by their category.

    Args:
        categories: number C of maps.
        in_features: input width.
        out_features: output width.
        seed: seed of the weights; each category draws its own, whatever the number of categories.
        zero: whether all weights start at zero.
    """

    def __init__(self, categories: int, in_features: int, out_features: int, seed: int, zero: bool = False) -> None:
        super().__init__()
        bound = math.sqrt(3.0 / in_features)
        draws = [torch_generator(seed, "category linear", index) for index in range(categories)]
        weights = [torch.rand(in_features, out_features, generator=draw) * 2 - 1 for draw in draws]
        stacked = torch.stack(weights) if weights else torch.zeros(0, in_features, out_features)
        self.weight = nn.Parameter(stacked * (0.0 if zero else bound))
        self.bias = nn.Parameter(torch.zeros(categories, out_features))

    def forward(self, category: Int[Tensor, "B"], values: Float[Tensor, "B N I"]) -> Float[Tensor, "B N O"]:
        return torch.baddbmm(self.bias[category][:, None], values, self.weight[category])


class CoordinateOffsets(nn.Module):
    """Offsets of surface points, from their place on the template and a latent of the object.

    Every category has weights of its own: it can be trained, replaced or added without the others. The last layer
    starts at zero, so that the first shapes are the templates.

    Args:
        categories: number C of categories.
        latent: size L of an object's latent.
        hidden: width of the hidden layers.
        layers: number of layers, at least 2.
        octaves: number of sine and cosine pairs per coordinate, of 1, 2, 4, ... half turns per world unit.
        seed: seed of the weights.
    """

    def __init__(self, categories: int, latent: int, hidden: int, layers: int, octaves: int, seed: int) -> None:
        super().__init__()
        self.octaves = octaves
        width = 6 + 6 * octaves
        self.coordinates = CategoryLinear(categories, width, hidden, seed)
        self.latent = CategoryLinear(categories, latent, hidden, seed + 1)
        self.hidden = nn.ModuleList(
            CategoryLinear(categories, hidden, hidden, seed + 2 + index) for index in range(layers - 2)
        )
        self.last = CategoryLinear(categories, hidden, 3, seed + layers, zero=True)

    def forward(
        self,
        category: Int[Tensor, "B"],
        latent: Float[Tensor, "B L"],
        points: Float[Tensor, "B V 3"],
        directions: Float[Tensor, "V 3"],
    ) -> Float[Tensor, "B V 3"]:
        """Offsets before they are bounded.

        Args:
            category: index of each sample's category.
            latent: latent of each sample's object.
            points: points on the templates, world frame.
            directions: the same points on the sphere, which tells apart two sides of a thin plate.
        """
        angles = points[..., None] * (math.pi * 2.0 ** torch.arange(self.octaves, device=points.device))
        parts = [points, directions.expand_as(points), angles.sin().flatten(-2), angles.cos().flatten(-2)]
        x = self.coordinates(category, torch.cat(parts, dim=-1)) + self.latent(category, latent[:, None])
        for layer in self.hidden:
            x = layer(category, functional.silu(x))
        offsets: Tensor = self.last(category, functional.silu(x))
        return offsets


def bounded(offsets: Float[Tensor, "*B 3"], limit: Float[Tensor, "*B 1"]) -> Float[Tensor, "*B 3"]:
    """Shorten vectors smoothly to less than ``limit``: o / sqrt(1 + |o|^2 / limit^2)."""
    return offsets / (1 + (offsets / limit).square().sum(dim=-1, keepdim=True)).sqrt()
