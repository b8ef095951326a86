"""The whole decoder commutes with its group, and with a symmetric constant its volumes are symmetric."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from raylift.networks.equivariant.groups import GroupName, grid_group
from raylift.networks.volumes.config import VolumeConfig
from raylift.networks.volumes.decoder import VolumeDecoder, build_decoder
from raylift.networks.volumes.fields import stage_fields
from tests.networks.equivariant.moving import move

NAMES: list[GroupName] = ["mirror", "c4v", "o", "oh"]
each_group = pytest.mark.parametrize("name", NAMES)
GEOMETRIES = pytest.mark.parametrize("geometry", ["occupancy", "sdf"])


def decoder(name: GroupName, **changes: object) -> VolumeDecoder:
    """A small decoder with a loud head, so that its shapes are far from the initial ball."""
    torch.manual_seed(0)
    config = VolumeConfig(resolution=8, bake_resolution=16, width=12, channels=6, group=name, **changes)  # type: ignore[arg-type]
    made = build_decoder(config, 4)
    with torch.no_grad():
        made.voxels.head.weight.mul_(20.0)
    return made


def bake(made: VolumeDecoder, constant: Tensor) -> Tensor:
    """[B, 4, R, R, R]: density and colour of several latents, from a given constant."""
    with torch.no_grad():
        made.voxels.constant.copy_(constant)
        grid = made(2 * torch.randn(2, 4, generator=torch.Generator().manual_seed(1))).bake()
        return torch.cat([grid.density[:, None], grid.features], 1)


def equation_10_error(made: VolumeDecoder, name: GroupName) -> float:
    """Largest error of D_z(g c) = g D_z(c), relative, over a third of the elements and two latents."""
    group = grid_group(name)
    constant = made.voxels.constant.detach().clone()
    before = bake(made, constant)
    scale = before.flatten(2).amax(-1).clamp(min=1.0)[..., None, None, None]
    errors = [
        ((bake(made, move(group, g, constant)) - move(group, g, before)) / scale).abs().max()
        for g in range(1, len(group), 3 if len(group) > 2 else 1)
    ]
    return float(torch.stack(errors).max())


@each_group
@GEOMETRIES
def test_moving_the_constant_moves_the_volume(name: GroupName, geometry: str) -> None:
    assert equation_10_error(decoder(name, geometry=geometry), name) < 1e-5


@each_group
def test_a_decoder_without_the_group_does_not(name: GroupName) -> None:
    assert equation_10_error(decoder("none"), name) > 0.1


@each_group
def test_a_group_has_as_many_parameters_as_none(name: GroupName) -> None:
    for sizes in ({}, {"width": 32, "channels": 8}, {"resolution": 32, "bake_resolution": 64}):
        counts = [
            sum(parameter.numel() for parameter in build_decoder(VolumeConfig(group=group, **sizes), 128).parameters())  # type: ignore[arg-type]
            for group in ("none", name)
        ]
        assert abs(counts[1] / counts[0] - 1) < 0.02
    assert all(stage_fields(VolumeConfig(width=8, channels=1, group=name), 4))


@pytest.mark.parametrize("name", ["mirror", "c4v", "oh"])
@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_a_symmetric_constant_makes_everything_symmetric_at_any_depth(name: GroupName, doublings: int) -> None:
    size = 4 * 2**doublings
    torch.manual_seed(0)
    for symmetric in (True, False):
        config = VolumeConfig(
            resolution=size, bake_resolution=size, width=6, channels=2, group=name, symmetric=symmetric
        )
        with torch.no_grad():
            x = build_decoder(config, 4).voxels.features(torch.randn(1, 4))
        error = (x - x.flip(2)).abs().max() / x.abs().max()
        assert (error < 1e-5) if symmetric else (error > 0.05)


@pytest.mark.parametrize("name", ["none", *NAMES])
@GEOMETRIES
def test_both_sides_are_equal(name: GroupName, geometry: str) -> None:
    made = decoder(name, geometry=geometry, symmetric=True)
    volume = made(torch.randn(2, 4))
    points = 1.1 * torch.rand(2, 200, 3) - 0.55
    mirrored = points * torch.tensor([-1.0, 1.0, 1.0])
    for read in (volume.density, volume.features, volume.values):
        assert ((read(points) - read(mirrored)).abs() < 1e-6 * read(points).abs().amax().clamp(min=1.0)).all()
    density = volume.bake().density
    assert torch.equal(density, density.flip(1))
    assert not torch.allclose(density, density.flip(3), atol=1e-2), "front and back differ"


@each_group
def test_every_parameter_of_a_group_has_a_gradient(name: GroupName) -> None:
    made = decoder(name)
    grid = made(torch.randn(2, 4)).bake()
    (grid.density.mean() + grid.features.square().mean()).backward()
    assert not [key for key, parameter in made.named_parameters() if parameter.grad is None or not parameter.grad.any()]
