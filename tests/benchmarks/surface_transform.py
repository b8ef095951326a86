"""The transformation of image features to a surface against plain torch on this machine's CPU, forward and backward.

    PYTHONPATH=platform:. python tests/benchmarks/surface_transform.py

A sphere fills most of an image of 48 x 48 pixels with 128 channels; the surface has 64 x 64 texels; gradients reach
features and UVs; one thread. Two references: "dense" solves for (s, t) of every quad and every texel and multiplies by
the matrix of weights, as the definition reads; "listed" is ``surface_transform.plain``, which lists the texels of each
quad's box, and runs where there are no kernels. Times are of the processor, of the fastest run, so that other work
hardly counts. Memory is the most that a process of its own took beyond what it had before. Last come a batch, and 1000
chosen texels of it, as training has them.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from raylift.geometry.cameras import orbit_views
from raylift.rendering.surface_transform.coverage import cover_texels, coverage_of
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.surface_transform.plain import (
    LARGEST_RESIDUAL,
    accepted_quads,
    bilinear,
    bilinear_weights,
    inverse_bilinear_newton,
    newton_step,
    plain_pairs,
    transform_plain,
)
from raylift.rendering.surface_transform.transform import texel_features, to_surface
from raylift.rendering.uv_fragments import UvFragments, uv_fragments
from tests.rendering.surface_transform.surfaces import octahedral_sphere

IMAGE_PX, CHANNELS, TEXELS, ZOOM = 48, 128, 64, 1.6
QUADS = 64
"""Quads that the dense reference solves at once."""


class Cost(NamedTuple):
    """Milliseconds without and with the backward pass; the megabytes of both."""

    forward_ms: float
    both_ms: float
    megabytes: float


def scene(batch: int) -> tuple[UvFragments, Tensor, Tensor]:
    """Fragments and features, with gradients, and weights of the surface's features."""
    vertices, faces, corner_uvs = octahedral_sphere(24)
    camera = orbit_views(batch)
    camera = replace(camera, focal=camera.focal * ZOOM)
    fragments = uv_fragments(vertices.float(), faces, corner_uvs.float(), camera, IMAGE_PX)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(batch, CHANNELS, IMAGE_PX, IMAGE_PX, generator=generator).requires_grad_()
    draw = torch.randn(batch, CHANNELS, TEXELS, TEXELS, generator=generator)
    return replace(fragments, uv=fragments.uv.requires_grad_()), features, draw


def compiled(features: Tensor, fragments: UvFragments) -> Tensor:
    return to_surface(features, fragments, TEXELS).features


def listed(features: Tensor, fragments: UvFragments) -> Tensor:
    pairs = plain_pairs(fragments, TEXELS, TransformOptions())
    coverage = coverage_of(pairs, tuple(fragments.mask.shape), TEXELS, None)
    return transform_plain(features.flatten(2), fragments.uv.flatten(1, 2), coverage).unflatten(2, (TEXELS, TEXELS))


def dense(features: Tensor, fragments: UvFragments) -> Tensor:
    """Every quad against every texel, image by image."""
    step = (torch.arange(TEXELS, dtype=torch.float64) + 0.5) / TEXELS
    centers = torch.stack(torch.meshgrid(step, step, indexing="xy"), dim=-1).reshape(-1, 2)
    surfaces = []
    for image in range(len(features)):
        own = {name: value[image : image + 1] for name, value in vars(fragments).items()}
        uv = own["uv"].reshape(-1, 2).double()
        matrix = uv.new_zeros(len(centers), len(uv))
        for quads in accepted_quads(UvFragments(**own), TransformOptions()).split(QUADS):
            corners = quads[:, None] + torch.tensor([0, 1, IMAGE_PX + 1, IMAGE_PX])
            shape = uv[corners][:, None].expand(-1, len(centers), -1, -1).flatten(0, 1)
            points = centers.repeat(len(quads), 1)
            place = inverse_bilinear_newton(shape.detach(), points)
            arrived = (bilinear(shape.detach(), place) - points).norm(dim=1) < LARGEST_RESIDUAL
            inside = arrived & ((place >= 0) & (place < 1)).all(dim=1)
            quad, texel = torch.nonzero(inside.unflatten(0, (len(quads), -1)), as_tuple=True)
            exact = place[inside] + newton_step(shape[inside], place[inside], points[inside])
            index = texel[:, None].expand(-1, 4), corners[quad]
            matrix = matrix.index_put(index, bilinear_weights(exact), accumulate=True)
        mean = matrix / matrix.detach().sum(dim=1, keepdim=True).round().clamp(min=1)
        surfaces.append((mean.to(features.dtype) @ features[image].flatten(1).mT).mT)
    return torch.stack(surfaces).unflatten(2, (TEXELS, TEXELS))


WAYS: dict[str, Callable[[Tensor, UvFragments], Tensor]] = {"dense": dense, "listed": listed, "compiled": compiled}


def there_and_back(way: str, fragments: UvFragments, features: Tensor, draw: Tensor) -> list[Tensor]:
    """Features of the surface, and the gradients of their product with ``draw``."""
    found = WAYS[way](features, fragments)
    return [found.detach(), *torch.autograd.grad(found, [features, fragments.uv], draw)]


def fastest_ms(work: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1e3 * min(spent)


def megabytes(field: str) -> float:
    """VmRSS (now) or VmHWM (at most) of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(way: str, batch: int, repeats: int) -> Cost:
    """Measure in this process, which did nothing else before."""
    torch.set_num_threads(1)
    fragments, features, draw = scene(batch)
    if way != "dense":
        there_and_back(way, *(scene(1)))  # loads code, and compiles it
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    there_and_back(way, fragments, features, draw)
    most = megabytes("VmHWM") - before
    both = fastest_ms(lambda: there_and_back(way, fragments, features, draw), repeats)
    return Cost(fastest_ms(lambda: WAYS[way](features, fragments), repeats), both, most)


def measure_apart(way: str, batch: int, repeats: int) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (way, batch, repeats))


def compare(ways: tuple[str, ...], batch: int, repeats: int) -> None:
    fast = measure_apart("compiled", batch, repeats)
    print(f"{batch} images: compiled {fast.both_ms:.2f} ms ({fast.forward_ms:.2f} forward), {fast.megabytes:.1f} MB")
    for way in ways:
        slow = measure_apart(way, batch, 1 if way == "dense" else repeats)
        print(f"  {way} {slow.both_ms:.1f} ms ({slow.forward_ms:.1f}), {slow.megabytes:.0f} MB: ", end="")
        print(f"time {slow.both_ms / fast.both_ms:.1f}x ({slow.forward_ms / fast.forward_ms:.1f}x forward), ", end="")
        print(f"memory {slow.megabytes / max(fast.megabytes, 0.1):.1f}x")


def print_differences() -> None:
    results = {way: there_and_back(way, *scene(1)) for way in WAYS}
    for way in ("dense", "listed"):
        gaps = [
            float((one - two).norm() / two.norm()) for one, two in zip(results["compiled"], results[way], strict=True)
        ]
        print(f"differs from {way} by {gaps[0]:.1e} (features), {gaps[1]:.1e} and {gaps[2]:.1e} (gradients), relative")


def print_chosen(batch: int, count: int, repeats: int) -> None:
    """Costs of coverage, and of the channel passes for chosen texels alone."""
    fragments, features, _ = scene(batch)
    coverage = cover_texels(fragments, TEXELS)
    chosen = torch.multinomial((coverage.num_quads.flatten(1) > 0).float(), count // batch)
    draw = torch.randn(batch, CHANNELS, count // batch)

    def both() -> object:
        found = texel_features(features, fragments, coverage.select(chosen))
        return torch.autograd.grad(found, [features, fragments.uv], draw)

    covering = fastest_ms(lambda: cover_texels(fragments, TEXELS), repeats)
    print(f"{count} texels of {batch} images: coverage {covering:.2f} ms, channels {fastest_ms(both, repeats):.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="runs of each; the dense one has 1")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seen = scene(1)[0].mask.sum()
    print(f"{int(seen)} of {IMAGE_PX**2} pixels on the object, {CHANNELS} channels, {TEXELS} x {TEXELS} texels")
    print_differences()
    compare(("dense", "listed"), 1, options.repeats)
    compare(("listed",), 8, options.repeats)
    print_chosen(8, 1000, options.repeats)


if __name__ == "__main__":
    main()
