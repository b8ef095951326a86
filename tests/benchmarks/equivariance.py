"""Equation 10 for each group: its error, the errors of controls that break it, and its cost at equal parameters.

    python tests/benchmarks/equivariance.py [--width 64 --channels 16 --batch 8]

One decoder per group, from 4^3 to a baked 32^3. Columns:

    fields        fields at 4, 8 and 16 cells per edge; each has one channel per element
    error         largest |D_z(g c) - g D_z(c)| of the head's output over all elements g and several latents z, relative
                  to the largest |D_z(c)|: c is the learned constant
    no group      the same for ordinary convolutions
    one-sided     the same for the group's convolutions with the original's upsampling, a transposed convolution of
                  stride 2 (all weights equal)
    step          time of one forward and backward pass, and its ratio to ordinary convolutions: the median of rounds
                  in which the groups take turns
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import get_args
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional

from raylift.networks.equivariant.groups import GridGroup, GroupName, act_on_volume, grid_group
from raylift.networks.volumes import voxels
from raylift.networks.volumes.config import VolumeConfig
from raylift.networks.volumes.decoder import VolumeDecoder, build_decoder
from raylift.networks.volumes.fields import stage_fields

STYLE = 128


def equation_10_error(decoder: VolumeDecoder, group: GridGroup, latents: Tensor) -> float:
    """Largest relative error over the group's elements and the latents."""
    generator = decoder.voxels
    constant = generator.constant.detach().clone()
    worst = 0.0

    def output(from_constant: Tensor, latent: Tensor) -> Tensor:
        generator.constant.copy_(from_constant)
        return generator.head(generator.features(latent), latent)

    with torch.no_grad():
        for latent in latents[:, None]:
            before = output(constant, latent)
            for element in range(len(group)):
                error = output(act_on_volume(group.matrices[element], constant), latent) - act_on_volume(
                    group.matrices[element], before
                )
                worst = max(worst, float(error.abs().max() / before.abs().max()))
        generator.constant.copy_(constant)
    return worst


def one_sided(x: Tensor, mode: str) -> Tensor:
    """The original's way to double a grid."""
    return functional.conv_transpose3d(x, torch.ones(x.shape[1], 1, 3, 3, 3), None, 2, 1, 1, x.shape[1])


def step_of(decoder: VolumeDecoder, latents: Tensor) -> Callable[[], None]:
    def step() -> None:
        grid = decoder(latents).bake()
        (grid.density.mean() + grid.features.mean()).backward()

    return step


def seconds_of(steps: dict[GroupName, Callable[[], None]], rounds: int) -> dict[GroupName, float]:
    """Median seconds of each, taking turns so that what else the machine does falls on all alike."""
    taken: dict[GroupName, list[float]] = {name: [] for name in steps}
    for name in [*steps, *list(steps) * rounds]:
        start = time.perf_counter()
        steps[name]()
        taken[name].append(time.perf_counter() - start)
    return {name: median(times[1:]) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--latents", type=int, default=2, help="latents that the error is measured for")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    latents = torch.randn(arguments.batch, STYLE)
    names: tuple[GroupName, ...] = get_args(GroupName)
    configs = {name: VolumeConfig(group=name, width=arguments.width, channels=arguments.channels) for name in names}
    decoders = {name: build_decoder(config, STYLE) for name, config in configs.items()}
    seconds = seconds_of({name: step_of(decoders[name], latents) for name in names}, arguments.rounds)

    print(f"batch {arguments.batch}, {torch.get_num_threads()} threads; PyTorch {torch.__version__}")
    print("group    elements  fields          parameters      error   no group  one-sided       step")
    for name in names:
        group = grid_group(name)
        few = latents[: arguments.latents]
        error = equation_10_error(decoders[name], group, few)
        plain = equation_10_error(decoders["none"], group, few)
        with mock.patch.object(voxels, "upsample", one_sided):
            broken = equation_10_error(decoders[name], group, few)
        controls = f"{plain:10.2f} {broken:10.2f}" if len(group) > 1 else f"{'-':>10s} {'-':>10s}"
        fields = "-".join(str(field) for field in stage_fields(configs[name], STYLE))
        count = sum(parameter.numel() for parameter in decoders[name].parameters())
        print(
            f"{name:8s} {len(group):8d}  {fields:15s} {count:10,d} {error:10.1e} {controls}"
            f" {seconds[name] * 1e3:7.0f} ms, {seconds[name] / seconds['none']:.1f}x"
        )


if __name__ == "__main__":
    main()
