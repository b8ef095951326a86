"""How many fields a group's decoder has for as many parameters as a decoder without a group."""

from __future__ import annotations

import math
from itertools import pairwise, product

from raylift.networks.equivariant.groups import GridGroup, grid_group
from raylift.networks.volumes.config import COARSEST, VolumeConfig

CLOSE_ENOUGH = 0.01
"""Relative difference of parameter counts below which the most even scaling is preferred to the closest count."""
OUTPUTS = 4
"""Channels of the head: raw geometry and RGB."""
_SPAN = 2
"""Fields that a stage may differ from the even scaling."""


def stage_fields(config: VolumeConfig, style_features: int) -> tuple[int, ...]:
    """Fields at 4, 8, ... cells per edge.

    A group convolution of F fields has |G| F^2 kernels, so an even scaling is by about 1 / sqrt(|G|), and a group costs
    about |G| times the arithmetic. Rounding changes the count by tens of percent where fields are few, so every stage
    may differ from the even scaling by up to two: of the choices within 1 % of the count, the most even one; otherwise
    the closest. The constant keeps ``width`` scalar channels.

    Args:
        config: of representation "voxels".
        style_features: size of the latent.
    """
    widths, group = config.stage_widths, grid_group(config.group)
    if len(group) == 1:
        return widths
    target = num_parameters(widths, widths[0], grid_group("none"), style_features)

    def mismatch(fields: tuple[int, ...]) -> float:
        return abs(num_parameters(fields, widths[0], group, style_features) / target - 1)

    def unevenness(fields: tuple[int, ...]) -> float:
        logs = [math.log(field / width) for field, width in zip(fields, widths, strict=True)]
        return sum((log - sum(logs) / len(logs)) ** 2 for log in logs)

    scales = [step / 200 for step in range(2, 200)]
    even = min((tuple(max(1, round(scale * width)) for width in widths) for scale in scales), key=mismatch)
    choices = list(product(*(range(max(1, field - _SPAN), field + _SPAN + 1) for field in even)))
    close = [fields for fields in choices if mismatch(fields) < CLOSE_ENOUGH]
    return min(close, key=unevenness) if close else min(choices, key=mismatch)


def num_parameters(fields: tuple[int, ...], width: int, group: GridGroup, style_features: int) -> int:
    """Parameters of a voxel generator.

    Args:
        fields: fields per stage.
        width: scalar channels of the constant.
        group: the group of its convolutions.
        style_features: size of the latent.
    """
    cells = group.kernel_cells.shape[1]
    total = width * COARSEST**3 + width * fields[0] * cells
    total += sum(len(group) * before * after * cells for before, after in pairwise(fields))
    total += fields[-1] * OUTPUTS * group.num_orbits + sum(fields) + OUTPUTS
    return total + (style_features + 1) * (width + sum(fields))
