"""Volumes that do not fit together are refused, and so are those that do not fit into memory."""

from __future__ import annotations

import math

import pytest
import torch

from raylift.core.device_memory import refuse_too_large
from raylift.core.errors import ConfigError, DataError
from raylift.rendering.volume import memory
from raylift.rendering.volume.grid import VolumeGrid
from raylift.rendering.volume.memory import bytes_needed, num_gradient_parts


@pytest.mark.parametrize(
    ("density", "features"),
    [
        ((1, 4, 4, 4), (1, 3, 4, 4, 5)),
        ((2, 4, 4, 4), (1, 3, 4, 4, 4)),
        ((4, 4, 4), (3, 4, 4, 4)),
        ((1, 4, 4, 4), (1, 0, 4, 4, 4)),
        ((1, 4, 0, 4), (1, 3, 4, 0, 4)),
    ],
)
def test_shapes_that_do_not_fit(density: tuple[int, ...], features: tuple[int, ...]) -> None:
    with pytest.raises(DataError):
        VolumeGrid(torch.zeros(density), torch.zeros(features))


def test_kinds_and_extents_that_cannot_be_meant() -> None:
    density, features = torch.zeros(1, 4, 4, 4), torch.zeros(1, 3, 4, 4, 4)
    with pytest.raises(ConfigError, match="kind"):
        VolumeGrid(density, features, kind="opacity")  # type: ignore[arg-type]
    for half_extent in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ConfigError, match="half_extent"):
            VolumeGrid(density, features, half_extent)
    with pytest.raises(DataError, match="int64"):
        VolumeGrid(density.long(), features)


def test_memory_grows_with_the_grid_and_is_refused_before_it_is_taken() -> None:
    small = bytes_needed(8, 3, 32, 8, 64)
    assert 8 * 4 * 32**3 * 4 * 3 < small < 200e6
    assert bytes_needed(8, 3, 32, 8, 64, dense=True) > 3 * small
    assert 250 < bytes_needed(8, 16, 256, 8, 64) / bytes_needed(8, 16, 32, 8, 64) < 512
    assert bytes_needed(1, 3, (4, 5, 6), 1, 8) < bytes_needed(1, 3, 6, 1, 8)
    refuse_too_large(small, "a grid")
    with pytest.raises(ConfigError, match="a grid of 100000\\^3 needs"):
        refuse_too_large(bytes_needed(8, 16, 100_000, 8, 64), "a grid of 100000^3")


def test_parts_of_a_gradient_are_few_where_the_grid_is_large() -> None:
    assert num_gradient_parts((1, 34, 34, 34), 4, 4) == 8
    assert num_gradient_parts((4, 34, 34, 34), 4, 4) == 2
    assert num_gradient_parts((64, 34, 34, 34), 4, 4) == 1
    assert num_gradient_parts((1, 258, 258, 258), 16, 4) == 1
    assert memory.PART_BYTES < 2**30
