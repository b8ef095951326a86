"""Features per cell: unit vectors, centred where the cells are."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from raylift.core.errors import ConfigError
from raylift.networks.stride_features import StrideFeatures, StrideFeaturesConfig

SMALL = {"backbone": "resnet18", "width": 8, "hidden": 16, "channels": 12}


def network(stride: int = 4) -> StrideFeatures:
    torch.manual_seed(0)
    return StrideFeatures(StrideFeaturesConfig(stride=stride, **SMALL))


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_a_unit_vector_per_cell(stride: int) -> None:
    found = network(stride)(torch.rand(2, 3, 64, 64))
    assert found.shape == (2, 12, 64 // stride, 64 // stride)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2, 64 // stride, 64 // stride))


def test_every_parameter_is_used() -> None:
    made = network(8)
    made(torch.rand(1, 3, 64, 64))[:, 0].sum().backward()
    idle = [name for name, value in made.named_parameters() if value.grad is None or not value.grad.any()]
    assert not [name for name in idle if not name.startswith("pyramid.")]


def test_maps_are_read_where_they_were_computed() -> None:
    """A map of the pixel positions of its own outputs, read at cell centres, is the positions of those centres."""
    made, side, size = network(4), 64, 16
    for level in made.levels:
        spacing = made.pyramid.places[level].spacing
        positions = torch.arange(int(side / spacing)) * spacing
        read = made._at_centres(positions.expand(1, 1, len(positions), -1), level, side, size)
        centres = avg_pool2d(torch.arange(64.0).expand(1, 1, 64, -1), 4)
        inside = (centres <= positions[-1]) & (centres >= 0)
        torch.testing.assert_close(read[inside], centres[inside])


def test_impossible_backbones_are_refused() -> None:
    with pytest.raises(ConfigError, match="stride"):
        StrideFeaturesConfig(stride=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cells"):
        network(16)(torch.rand(1, 3, 72, 72))
