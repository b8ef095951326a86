"""A true tri-plane: three planes, read continuously, combined as the config says."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from raylift.networks.volumes.config import Combination, VolumeConfig
from raylift.networks.volumes.decoder import build_decoder
from raylift.networks.volumes.geometry import OccupancyGeometry
from raylift.networks.volumes.triplane import AXES, PointDecoder, TriplaneVolume

each_combination = pytest.mark.parametrize("combine", get_args(Combination))


def volume(planes: Tensor, combine: Combination = "sum") -> TriplaneVolume:
    torch.manual_seed(0)
    decoder = PointDecoder(planes.shape[2], 8, combine, gain=5.0).to(planes.dtype)
    return TriplaneVolume(planes, decoder, OccupancyGeometry(0.3, 0.1), 0.55, 16)


def points(count: int = 30) -> Tensor:
    return 0.5 * (2 * torch.rand(2, count, 3, generator=torch.Generator().manual_seed(1)) - 1)


def test_a_coordinate_changes_exactly_the_two_reads_that_it_is_in() -> None:
    made = volume(torch.randn(2, 3, 4, 8, 8))
    places = 0.8 * points()  # beyond the centres of the outermost pixels a read is constant
    for coordinate, readers in enumerate(((0, 1), (0, 2), (1, 2))):
        moved = places.clone()
        moved[..., coordinate] += 0.013
        for plane, (before, after) in enumerate(zip(made.reads(places), made.reads(moved), strict=True)):
            assert (after != before).all() if plane in readers else torch.equal(after, before)


def test_each_plane_is_indexed_by_its_own_coordinates_in_order() -> None:
    centers = (torch.arange(8) + 0.5) / 8 * 1.1 - 0.55
    first = centers[:, None].expand(8, 8)
    planes = torch.stack([first, first.T])[None, None].expand(2, 3, 2, 8, 8)
    places = 0.8 * points()  # between the centres of the outermost pixels, where a bilinear read of a ramp is exact
    for read, (a, b) in zip(volume(planes).reads(places), AXES, strict=True):
        torch.testing.assert_close(read, places[..., [a, b]], atol=1e-6, rtol=1e-5)


@each_combination
def test_the_combination_against_its_definition(combine: Combination) -> None:
    made = volume(0.3 * torch.randn(2, 3, 4, 8, 8), combine)
    xy, xz, yz = made.reads(points())
    together = {
        "sum": xy + xz + yz,
        "product": (1 + xy) * (1 + xz) * (1 + yz),
        "concat": torch.cat([xy, xz, yz], -1),
    }[combine]
    hidden = torch.nn.functional.softplus(made.decoder.first(together))
    output = made.decoder.second(hidden)
    torch.testing.assert_close(made.features(points()), torch.sigmoid(output[..., 1:]))
    torch.testing.assert_close(made.raw(points()), made.geometry.raw(output[..., 0], points()))


def test_a_product_starts_near_one() -> None:
    torch.manual_seed(0)
    decoder = build_decoder(VolumeConfig(representation="triplane", combine="product", resolution=16), 8)
    planes = decoder.planes(torch.randn(4, 8))
    product = (1 + planes).prod(1)
    assert (product.median() - 1).abs() < 0.2
    assert product.std() < 1


@each_combination
def test_gradients_to_points_and_planes_in_double_precision(combine: Combination) -> None:
    planes = (0.3 * torch.randn(2, 3, 2, 4, 4)).double().requires_grad_()
    places = points(4).double().requires_grad_()

    def read(planes: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        made = volume(planes, combine)
        return made.density(places), made.features(places)

    assert torch.autograd.gradcheck(read, (planes, places), fast_mode=True)


def test_reads_are_continuous_where_pixels_meet() -> None:
    made = volume(torch.randn(1, 3, 4, 8, 8))
    line = torch.linspace(-0.5, 0.5, 20001)[None, :, None] * torch.tensor([1.0, 0.3, -0.7])
    assert made.density(line).diff().abs().max() < 1e-3
