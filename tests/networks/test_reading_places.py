"""An encoder's map is read where it was computed: the pixels that a reading depends on lie around its place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from raylift.core.types import GRID_HALF_EXTENT
from raylift.networks.point_sampling import sample_map, sample_volume
from raylift.networks.resnet import ResNetPyramid
from raylift.networks.voxel_encoder import VoxelPyramid


def averaging(network: nn.Module) -> nn.Module:
    """The same layers as weighted means: every weight alike, no norm, poolings that average."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d | nn.Conv3d):
            nn.init.constant_(child.weight, 1 / child.weight[0].numel())
        elif isinstance(child, nn.GroupNorm):
            setattr(network, name, nn.Identity())
        elif isinstance(child, nn.MaxPool2d):
            setattr(network, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.MaxPool3d):
            setattr(network, name, nn.AvgPool3d(child.kernel_size, child.stride, child.padding))
        else:
            averaging(child)
    return network


def center_of_mass(weights: Tensor) -> list[float]:
    """In array coordinates, from [..., sizes]."""
    axes = [torch.arange(size, dtype=weights.dtype) for size in weights.shape]
    grids = torch.meshgrid(*axes, indexing="ij")
    return [float((weights * grid).sum() / weights.sum()) for grid in grids]


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_resnet_maps_are_read_around_the_place(scale: int) -> None:
    side = 192
    encoder = averaging(ResNetPyramid("resnet18", 1)).double()
    image = torch.ones(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    features = encoder(image)[scale]
    uv = torch.tensor([[[0.111, -0.077]]], dtype=torch.float64)
    sample_map(features, encoder.places[scale].coordinates(uv, side, features.shape[-1])).sum().backward()
    row, column = center_of_mass(image.grad[0].sum(0))
    assert [column, row] == pytest.approx([(float(c) + 1) * side / 2 - 0.5 for c in uv[0, 0]], abs=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("scale", [0, 1, 2])
def test_voxel_volumes_are_read_around_the_place(scale: int, stride: int) -> None:
    size = 48
    encoder = averaging(VoxelPyramid(1, 1, stride)).double()
    grid = torch.ones(1, 1, size, size, size, dtype=torch.float64, requires_grad=True)
    volume = encoder(grid)[scale]
    point = torch.tensor([[[0.111, -0.077, 0.05]]], dtype=torch.float64)
    inside = encoder.places[scale].coordinates(point / GRID_HALF_EXTENT, size, volume.shape[-1])
    sample_volume(volume, inside * GRID_HALF_EXTENT).sum().backward()
    expected = [(float(c) / GRID_HALF_EXTENT + 1) * size / 2 - 0.5 for c in point[0, 0]]
    assert center_of_mass(grid.grad[0, 0]) == pytest.approx(expected, abs=1e-6)
