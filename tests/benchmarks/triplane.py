"""Tri-plane against voxels at equal resolution and channels: memory and time from 16 to 256 cells per edge.

    python tests/benchmarks/triplane.py [--resolutions 16 32 64 128 256] [--points 65536]

One step is: decode one latent, read density and colour at random points, and go back to the parameters. Each runs in a
process of its own, whose peak memory less that before the step is reported. A resolution that would take more than half
of the free memory, judged by the previous one's peak, is not run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import dataclass

import torch

from raylift.core.device_memory import free_bytes
from raylift.networks.volumes.config import Representation, VolumeConfig
from raylift.networks.volumes.decoder import build_decoder

STYLE = 128
MEGABYTE = 2**20
_GROWTH = {"voxels": 8, "triplane": 4}
"""How much more memory twice the resolution takes, at most."""


@dataclass(frozen=True)
class Job:
    representation: Representation
    resolution: int
    channels: int
    num_points: int
    num_steps: int


@dataclass(frozen=True)
class Measured:
    """Peak bytes of a step, and seconds of the fastest."""

    peak: int
    seconds: float


def measure(job: Job) -> Measured:
    torch.manual_seed(0)
    config = VolumeConfig(
        representation=job.representation,
        resolution=job.resolution,
        bake_resolution=job.resolution,
        width=2 * job.channels,
        channels=job.channels,
    )
    decoder = build_decoder(config, STYLE)
    latent = torch.randn(1, STYLE)
    points = 1.1 * torch.rand(1, job.num_points, 3) - 0.55
    before = _peak_bytes()
    seconds = []
    for _ in range(job.num_steps):
        start = time.perf_counter()
        volume = decoder(latent)
        (volume.density(points).mean() + volume.features(points).mean()).backward()
        seconds.append(time.perf_counter() - start)
    return Measured(_peak_bytes() - before, min(seconds))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolutions", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--points", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=3)
    arguments = parser.parse_args()

    print(f"{arguments.channels} channels, {arguments.points} points; PyTorch {torch.__version__}")
    print("                    voxels                tri-plane            voxels / tri-plane")
    print("resolution     MB peak    ms          MB peak    ms            memory     time")
    previous: dict[str, Measured] = {}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for resolution in arguments.resolutions:
            row: dict[str, Measured] = {}
            for representation in ("voxels", "triplane"):
                job = Job(representation, resolution, arguments.channels, arguments.points, arguments.steps)
                expected = previous[representation].peak * _GROWTH[representation] if representation in previous else 0
                free = free_bytes()
                if free is not None and expected > 0.5 * free:
                    print(f"{resolution:10d}     {representation}: not run, about {expected / MEGABYTE:,.0f} MB")
                    continue
                row[representation] = previous[representation] = pool.apply(measure, (job,))
            _print_row(resolution, row)


def _print_row(resolution: int, row: dict[str, Measured]) -> None:
    cells = [
        f"{row[name].peak / MEGABYTE:9.1f} {row[name].seconds * 1e3:7.0f}" if name in row else " " * 17
        for name in ("voxels", "triplane")
    ]
    ratio = ""
    if len(row) == 2:
        voxels, planes = row["voxels"], row["triplane"]
        ratio = f"{voxels.peak / planes.peak:9.1f}x {voxels.seconds / planes.seconds:7.1f}x"
    print(f"{resolution:10d}  {cells[0]}     {cells[1]}     {ratio}", flush=True)


if __name__ == "__main__":
    main()
