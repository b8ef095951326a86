"""The ray-marcher against the dense torch renderer of the same field on this machine's CPU, forward and backward.

    PYTHONPATH=platform:. python tests/benchmarks/volume_rendering.py

A chair in almost empty space, 64 x 64 pixels, 48 samples per ray, gradients to density, features and cameras, one
thread. First 8 volumes of 32^3 with 3 and with 16 channels (goals: a fifth of the time, a third of the memory): sharp,
whose density falls from 60 to nothing within a cell, and soft, as a sigmoid leaves it while training, where most space
stops some light. Then one sharp volume of 16^3 to 256^3. Times are of the processor, of the fastest run, so that other
work hardly counts. Memory is the most that a process of its own took beyond what it had before its first rendering.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import orbit_views
from raylift.rendering.volume.dense import render_dense
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.march import render_volume
from raylift.rendering.volume.memory import bytes_needed
from raylift.rendering.volume.rays import sample_rays
from tests.rendering.volume.scenes import chair

IMAGE_PX, NUM_SAMPLES, HAZE = 64, 48, 1e-4
SHARP, SOFT = 0.003, 0.02


class Case(NamedTuple):
    """What one process measures."""

    renderer: str
    batch: int
    channels: int
    resolution: int
    softness: float
    repeats: int


class Cost(NamedTuple):
    """Milliseconds without and with the backward pass; the megabytes of both."""

    forward_ms: float
    both_ms: float
    megabytes: float


def fastest_ms(work: Callable[[], object], repeats: int) -> float:
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1e3 * min(spent)


def scene(batch: int, channels: int, resolution: int, softness: float = SHARP) -> tuple[list[Tensor], Tensor]:
    """Density, features and the camera's tensors; weights of a picture's features."""
    grid = chair(batch, resolution, softness=softness)
    features = grid.features.repeat(1, -(-channels // 3), 1, 1, 1)[:, :channels].contiguous()
    camera = orbit_views(batch)
    leaves = [grid.density + HAZE, features, camera.focal, camera.principal, camera.rotation, camera.translation]
    draw = torch.randn(batch, channels, IMAGE_PX**2, generator=torch.Generator().manual_seed(0))
    return [leaf.requires_grad_() for leaf in leaves], draw


def render(renderer: str, leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Features [V, C, P] and alpha [V, P]."""
    grid, camera = VolumeGrid(leaves[0], leaves[1]), Camera(*leaves[2:])
    if renderer == "marcher":
        view = render_volume(grid, camera, IMAGE_PX, NUM_SAMPLES)
        return view.features.flatten(2), view.alpha.flatten(1)
    rays = sample_rays(camera, IMAGE_PX, grid.half_extent, NUM_SAMPLES)
    features, alpha, _ = render_dense(grid, rays, torch.arange(len(grid)), NUM_SAMPLES)
    return features, alpha


def there_and_back(renderer: str, leaves: list[Tensor], draw: Tensor) -> list[Tensor]:
    """The picture, and the gradients of its product with ``draw``."""
    features, alpha = render(renderer, leaves)
    gradients = torch.autograd.grad((features * draw).sum() + alpha.sum(), leaves)
    return [features.detach(), alpha.detach(), *gradients]


def megabytes(field: str) -> float:
    """VmRSS (now) or VmHWM (at most) of this process."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def measure(case: Case) -> Cost:
    """Measure in this process, which did nothing else before."""
    torch.set_num_threads(1)
    there_and_back(case.renderer, *scene(1, case.channels, 8))  # loads code, and compiles it
    leaves, draw = scene(case.batch, case.channels, case.resolution, case.softness)
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = megabytes("VmRSS")
    there_and_back(case.renderer, leaves, draw)
    most = megabytes("VmHWM") - before
    both = fastest_ms(lambda: there_and_back(case.renderer, leaves, draw), case.repeats)
    return Cost(fastest_ms(lambda: render(case.renderer, leaves), case.repeats), both, most)


def measure_apart(case: Case) -> Cost:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (case,))


def compare(batch: int, channels: int, resolution: int, softness: float, repeats: int) -> None:
    """Print both renderers' costs and their ratios."""
    slow = measure_apart(Case("dense", batch, channels, resolution, softness, min(repeats, 2)))
    fast = measure_apart(Case("marcher", batch, channels, resolution, softness, repeats))
    predicted = bytes_needed(batch, channels, resolution, batch, IMAGE_PX, NUM_SAMPLES) / 2**20
    print(f"{batch} {'sharp' if softness == SHARP else 'soft'} x {resolution}^3, C = {channels}: ", end="")
    print(f"dense {slow.both_ms:.0f} ms ({slow.forward_ms:.0f} forward), {slow.megabytes:.0f} MB; ", end="")
    print(f"marcher {fast.both_ms:.0f} ms ({fast.forward_ms:.0f}), {fast.megabytes:.0f} MB (predicted {predicted:.0f})")
    print(f"  time {slow.both_ms / fast.both_ms:.1f}x ({slow.forward_ms / fast.forward_ms:.1f}x forward), ", end="")
    print(f"memory {slow.megabytes / max(fast.megabytes, 0.1):.1f}x")


def print_differences(batch: int, channels: int, resolution: int, softness: float) -> None:
    leaves, draw = scene(batch, channels, resolution, softness)
    dense, ours = there_and_back("dense", leaves, draw), there_and_back("marcher", leaves, draw)
    features, alpha = (float((one - other).abs().max()) for one, other in zip(ours[:2], dense[:2], strict=True))
    print(f"largest difference of features {features:.1e}, of alpha {alpha:.1e}; of gradients, relative:", end="")
    for name, one, other in zip(("density", "features", "camera"), ours[2:5], dense[2:5], strict=True):
        print(f" {name} {float((one - other).norm() / other.norm()):.1e}", end="")
    by_log = ((ours[2] - dense[2]) * leaves[0]).norm() / (dense[2] * leaves[0]).norm()
    print(f" log density {float(by_log):.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="runs of the marcher; the dense one has 2 at most")
    parser.add_argument("--largest", type=int, default=256, help="largest grid of the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for softness in (SHARP, SOFT):
        for channels in (3, 16):
            compare(8, channels, 32, softness, options.repeats)
        print_differences(8, 3, 32, softness)
    for resolution in (16, 32, 64, 128, 256):
        if resolution <= options.largest:
            compare(1, 3, resolution, SHARP, options.repeats)


if __name__ == "__main__":
    main()
