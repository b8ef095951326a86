"""What an evaluation spends its time on, each part against the obvious way to do it.

    python tests/benchmarks/evaluation.py [--repeats 3]

Prints CPU seconds of both, their ratio, and whether the answers are equal to the last bit. Everything is made here: a
bumpy ball seen by one camera stands for a reconstruction, one of another size for the truth.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from raylift.core.types import Field
from raylift.geometry.cameras import orbit
from raylift.geometry.depth_maps import DepthSurface, surface_at
from raylift.geometry.iso_surface import extract
from raylift.geometry.point_tree import PointTree, curve_order
from raylift.networks.point_sampling import sample_volume

NUM_POINTS = 100_000


def ball(radius: float, seed: int) -> np.ndarray:
    """Points of a bumpy surface, along a curve as Chamfer distances take them."""
    points = np.random.default_rng(seed).normal(size=(NUM_POINTS, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    points *= 1 + 0.05 * np.sin(20 * points).prod(axis=1, keepdims=True)
    ordered: np.ndarray = points[curve_order(points)]
    return ordered


def colored(points: Tensor) -> tuple[Tensor, Tensor]:
    """A field whose colours cost as much as its values."""
    return values(points), torch.stack([values(points + shift) for shift in (0.0, 0.1, 0.2)], -1)


def values(points: Tensor) -> Tensor:
    return points.norm(dim=-1) - 0.4 - 0.02 * (20 * points).sin().prod(dim=-1)


def cpu_seconds(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The least of several times, and the answer."""
    answer = work()  # compiles the kernels
    times = []
    for _ in range(repeats):
        start = time.process_time()
        answer = work()
        times.append(time.process_time() - start)
    return min(times), answer


def compare(name: str, ours: Callable[[], Any], obvious: Callable[[], Any], repeats: int) -> None:
    """One line."""
    (fast, answer), (slow, expected) = cpu_seconds(ours, repeats), cpu_seconds(obvious, repeats)
    equal = np.array_equal(np.asarray(answer), np.asarray(expected))
    print(f"{name:52s} {slow:8.3f} {fast:8.3f} {slow / fast:7.1f}   {equal}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'CPU seconds':52s}  obvious     ours   ratio   equal")

    for radius in (0.39, 0.3):
        predicted, truth = ball(radius, 0), ball(0.4, 1)
        tree, obvious = PointTree(truth), cKDTree(truth)
        compare(
            f"nearest of 100 000 points, {0.4 - radius:.2f} apart, by cKDTree",
            lambda tree=tree, points=predicted: tree.nearest(points)[0],  # type: ignore[misc]
            lambda tree=obvious, points=predicted: tree.query(points)[0],  # type: ignore[misc]
            repeats,
        )
    compare("tree of 100 000 points, by cKDTree", lambda: bool(PointTree(truth)), lambda: bool(cKDTree(truth)), repeats)

    camera, depth = orbit(30.0, 20.0), 2.0 + 0.2 * torch.rand(1, 1, 128, 128)
    surface, pixels = DepthSurface(depth, camera), torch.randint(0, 128 * 128, (40, 1, 8192))
    compare(
        "positions and normals of 40 x 8192 pixels, each anew",
        lambda: [surface.at(some)[1].numpy() for some in pixels],
        lambda: [surface_at(depth, camera, some)[1].numpy() for some in pixels],
        repeats,
    )

    volume, points = torch.randn(1, 64, 16, 16, 16), torch.rand(1, 8192, 3) - 0.5

    def with_gradient() -> Tensor:
        with torch.enable_grad():
            return sample_volume(volume, points)

    compare("64 channels at 8192 points, by grid_sample", lambda: sample_volume(volume, points), with_gradient, repeats)

    compare(
        "surface at 128^3, colours asked for everywhere",
        lambda: extract(Field(colored, values=values), 128)[0].vertices,
        lambda: extract(Field(colored), 128)[0].vertices,
        repeats,
    )


if __name__ == "__main__":
    main()
