"""Iso-surface extraction: coarse-to-fine against dense, on a small network fitted to a chair.

    python tests/benchmarks/extraction.py [--resolution 256]

Prints evaluations and seconds of both, their ratios, and whether the meshes are equal. An untrained network is too
smooth to be a fair test, so it is first fitted to a chair's truncated signed distance.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

import torch
from torch import Tensor, nn

from raylift.core.types import Field
from raylift.geometry.iso_surface import ExtractionStats, extract


def chair(points: Tensor) -> Tensor:
    """Signed distance to a seat, a back and four legs."""
    boxes = [((0.0, 0.0, 0.0), (0.3, 0.03, 0.3)), ((0.0, 0.25, -0.28), (0.3, 0.25, 0.02))]
    boxes += [((x, -0.25, z), (0.02, 0.25, 0.02)) for x in (-0.27, 0.27) for z in (-0.27, 0.27)]
    distances = []
    for center, half in boxes:
        q = (points - torch.tensor(center)).abs() - torch.tensor(half)
        distances.append(q.clamp(min=0).norm(dim=-1) + q.max(-1).values.clamp(max=0))
    return torch.stack(distances).min(0).values


class Network(nn.Module):
    """Fourier features and a multilayer perceptron with the implicit model's two heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 1.5 * torch.randn(3, 64))
        sizes = [128, width, width, width]
        layers = [nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)]
        self.body = nn.Sequential(*layers, nn.Linear(width, 4))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        phase = 2 * torch.pi * points @ self.frequencies
        out = self.body(torch.cat([phase.sin(), phase.cos()], -1))
        return 0.1 * torch.tanh(out[:, 0]), torch.sigmoid(out[:, 1:])


def fitted(width: int, seconds: float) -> Network:
    torch.manual_seed(0)
    network = Network(width)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(1)
    start, num_steps, loss = time.perf_counter(), 0, torch.tensor(0.0)
    while time.perf_counter() - start < seconds:
        points = 1.1 * torch.rand(16384, 3, generator=generator) - 0.55
        near = points[chair(points).abs() < 0.05]
        points = torch.cat([points[:2048], near[:2048]])
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * max(0.02, 1 - (time.perf_counter() - start) / seconds)
        loss = (network(points)[0] - chair(points).clamp(-0.1, 0.1)).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        num_steps += 1
    print(f"fitted for {num_steps} steps: mean |error| {loss.item():.4f}")
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--width", type=int, default=128, help="of the network's layers")
    parser.add_argument("--fit-seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    field = Field(fitted(arguments.width, arguments.fit_seconds))
    extract(field, 32, coarse=8)  # compile the kernels

    sparse, fast = extract(field, arguments.resolution)
    dense, slow = extract(field, arguments.resolution, coarse=0)
    equal = torch.equal(sparse.vertices, dense.vertices) and torch.equal(sparse.faces, dense.faces)

    def row(name: str, stats: ExtractionStats) -> None:
        print(
            f"{name:15s} {stats.num_evaluations:12,d} {stats.seconds:9.2f} {stats.seconds - stats.query_seconds:9.2f}"
        )

    print(
        f"{arguments.resolution}^3, {len(dense.faces):,d} faces      evaluations   seconds   of which not the field's"
    )
    row("dense", slow)
    row("coarse to fine", fast)
    print(
        f"ratio: {slow.num_evaluations / fast.num_evaluations:.1f}x fewer evaluations, "
        f"{slow.seconds / fast.seconds:.1f}x less time; same mesh: {equal}; Lipschitz {fast.lipschitz:.2f}, "
        f"followed {fast.num_followed}, probe hits {fast.num_probe_hits}"
    )


if __name__ == "__main__":
    main()
