"""Runs the Triton kernels on the CPU, in a process of its own that was told so before Triton was imported.

Prints the largest differences from the compiled kernels, of features and of both gradients: a line per case. Pairs must
be the same.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from raylift.rendering.surface_transform.compiled import transform_compiled
from raylift.rendering.surface_transform.coverage import cover_texels, coverage_of
from raylift.rendering.surface_transform.fused import fused_pairs, transform_fused
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments
from tests.rendering.surface_transform.surfaces import fragments_of, grid, warped

TEXELS = 9


def fragments(noise: float, dtype: torch.dtype) -> UvFragments:
    """Without noise, pixels are texels: every centre is on edges of four quads."""
    found = warped(2, 6, 7, noise, holes=0.05) if noise else fragments_of((grid(6, 7, 0, 6) + 0.5) / TEXELS)
    return replace(found, uv=found.uv.to(dtype), depth=found.depth.to(dtype))


def differences(noise: float, options: TransformOptions, dtype: torch.dtype) -> list[float]:
    source = fragments(noise, dtype)
    shape = tuple(source.mask.shape)
    coverage = cover_texels(source, TEXELS, options)
    found = coverage_of(fused_pairs(source, TEXELS, options), shape, TEXELS, options.max_quads)
    assert len(coverage.row) > 25
    assert options.max_quads is None or (bool(coverage.num_dropped.any()) and int(coverage.num_quads.max()) > 1)
    for name in ("row_start", "row", "quad", "num_dropped"):
        assert torch.equal(getattr(coverage, name), getattr(found, name)), name
    results = [[coverage.place], [found.place]]
    features = torch.randn(shape[0], 5, shape[1] * shape[2], generator=torch.Generator().manual_seed(1)).to(dtype)
    leaves = [features.requires_grad_(), source.uv.flatten(1, 2).requires_grad_()]
    for transform, part, result in zip((transform_compiled, transform_fused), (coverage, found), results, strict=True):
        out = transform(*leaves, part)
        draw = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
        result += [out.detach(), *torch.autograd.grad((out * draw).sum(), leaves)]
    assert all(float(value.abs().max()) > 0.1 for value in results[0][1:])
    return [float((one - other).norm() / other.norm().clamp(min=1)) for one, other in zip(*results, strict=True)]


def main() -> None:
    for case in sys.argv[1:]:
        noise, chart, max_quads, dtype = case.split(",")
        options = TransformOptions(0.9, 0.2, chart, int(max_quads) or None)  # type: ignore[arg-type]
        found = differences(float(noise), options, getattr(torch, dtype))
        print(case, *(f"{value:.3e}" for value in found))


if __name__ == "__main__":
    main()
