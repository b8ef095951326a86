"""Runs the Triton kernels on the CPU, in a process of its own that was told so before Triton was imported.

Prints the largest differences from the compiled marcher, of pictures and of gradients: a line per case.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch
from torch import Tensor

from raylift.rendering.volume import fused
from raylift.rendering.volume.compiled import render_compiled
from raylift.rendering.volume.rays import sample_rays
from tests.rendering.volume.scenes import cameras, leaves_of, of_leaves, random_grid

OWNERS, IMAGE_PX, NUM_SAMPLES = torch.tensor([1, 0, 1]), 4, 7


def differences(kind: str, projection: str, min_weight: float, stop: float, dtype: torch.dtype) -> list[float]:
    grid, camera = random_grid(kind), cameras(3, projection)  # type: ignore[arg-type]
    grid = replace(grid, density=(grid.density - 0.1).clamp(min=0) * (1 if kind == "occupancy" else 8))
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in leaves_of(grid, camera)]
    results = []
    for render in (render_compiled, fused.render_fused):
        volumes, views = of_leaves(leaves, grid, camera)
        rays = sample_rays(views, IMAGE_PX, grid.half_extent, NUM_SAMPLES)
        seen: tuple[Tensor, ...] = render(volumes, rays, OWNERS, NUM_SAMPLES, min_weight, stop)
        draws = [torch.randn(part.shape, generator=torch.Generator().manual_seed(3)).to(dtype) for part in seen]
        total = torch.stack([(part * draw).sum() for part, draw in zip(seen, draws, strict=True)]).sum()
        results.append([*seen, *torch.autograd.grad(total, leaves)])
    assert all(float(part.detach().abs().max()) > 0.01 for part in results[0])
    return [float((one - other).detach().abs().max()) for one, other in zip(*results, strict=True)]


def main() -> None:
    fused.CHUNK, fused.BLOCK = 40, 32
    for case in sys.argv[1:]:
        kind, projection, min_weight, stop, dtype = case.split(",")
        found = differences(kind, projection, float(min_weight), float(stop), getattr(torch, dtype))
        print(case, *(f"{value:.3e}" for value in found))


if __name__ == "__main__":
    main()
