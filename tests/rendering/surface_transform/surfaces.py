"""Fragments to carry features with: grids in the chart, and spheres with the octahedral chart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments

PLAIN = TransformOptions(chart="plain")


def fragments_of(uv: Tensor, mask: Tensor | None = None, depth: Tensor | None = None) -> UvFragments:
    """Fragments with these UVs [B, H, W, 2], on the object everywhere, at depth 2, unless told otherwise."""
    mask = torch.ones(uv.shape[:3], dtype=torch.bool) if mask is None else mask
    depth = torch.full_like(uv[..., 0], 2.0) if depth is None else depth
    return UvFragments(uv, mask, depth, mask.long() - 1)


def grid(height: int, width: int, low: float = 0.1, high: float = 0.9, dtype: torch.dtype = torch.float64) -> Tensor:
    """UVs [1, H, W, 2] at equal steps."""
    v, u = torch.linspace(low, high, height, dtype=dtype), torch.linspace(low, high, width, dtype=dtype)
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), dim=-1)[None]


def warped(batch: int, height: int, width: int, noise: float, seed: int = 0, holes: float = 0.0) -> UvFragments:
    """A grid whose pixels moved by ``noise`` steps, normally distributed: many quads are odd, above 0.5 it folds."""
    generator = torch.Generator().manual_seed(seed)
    uv = grid(height, width).repeat(batch, 1, 1, 1)
    steps = torch.tensor([0.8 / width, 0.8 / height], dtype=torch.float64)
    uv = uv + noise * steps * torch.randn(uv.shape, generator=generator, dtype=torch.float64)
    return fragments_of(uv, torch.rand(uv.shape[:3], generator=generator) >= holes)


def directions(uv: Tensor) -> Tensor:
    """Unit vectors [..., 3] of the octahedral chart's points."""
    x, y = (2 * uv - 1).unbind(dim=-1)
    z = 1 - x.abs() - y.abs()
    fold = (-z).clamp(min=0)
    return normalize(torch.stack([x - x.sign() * fold, y - y.sign() * fold, z], dim=-1), dim=-1)


def octahedral_sphere(cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices [1, V, 3] on a sphere of radius 0.5, faces and their corners' UVs, with 2 cells^2 faces."""
    uv = grid(cells + 1, cells + 1, 0.0, 1.0)[0].reshape(-1, 2)
    row, column = (part.flatten() for part in torch.meshgrid(*[torch.arange(cells)] * 2, indexing="ij"))
    a = row * (cells + 1) + column
    b, c, d = a + 1, a + cells + 2, a + cells + 1
    # The chart's creases run along the diagonals of cells.
    main = ((row < cells / 2) != (column < cells / 2))[:, None, None]
    quads = torch.where(
        main,
        torch.stack([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)], 1),
        torch.stack([torch.stack([a, b, d], 1), torch.stack([b, c, d], 1)], 1),
    )
    faces = quads.flatten(0, 1)
    return 0.5 * directions(uv)[None], faces, uv[faces]
