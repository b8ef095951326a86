"""Equation 10, f(g x) = g f(x), for every element, layer, size and style, with controls that break it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from raylift.networks.equivariant.convolutions import GroupConv, InvariantConv, LiftingConv, project
from raylift.networks.equivariant.groups import GridGroup, GroupName, grid_group
from raylift.networks.modulated import activate, upsample
from tests.networks.equivariant.moving import move, move_fields

STYLE = 5
NAMES: list[GroupName] = ["mirror", "c4v", "o", "oh"]
each_group = pytest.mark.parametrize("name", NAMES)
Resize = Callable[[Tensor], Tensor]


class Stack(nn.Module):
    """Scalars, lifted, convolved twice with a change of size between, projected, and convolved once more."""

    def __init__(self, group: GridGroup, resize: Resize) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.group, self.resize = group, resize
        self.lift = LiftingConv(STYLE, 3, 2, group)
        self.first, self.second = GroupConv(STYLE, 2, 3, group), GroupConv(STYLE, 3, 2, group)
        self.head = InvariantConv(STYLE, 2, 2, group, demodulate=False)
        for layer in (self.lift, self.first, self.second, self.head):
            nn.init.normal_(layer.bias)

    def fields(self, x: Tensor, style: Tensor) -> Tensor:
        x = activate(self.first(activate(self.lift(x, style)), style))
        return activate(self.second(self.resize(x), style))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        output: Tensor = self.head(project(self.fields(x, style), self.group), style)
        return output


def relative_error(function: Callable[[Tensor, Tensor], Tensor], group: GridGroup, x: Tensor, seed: int = 0) -> float:
    """Largest |f(g x) - g f(x)| of all elements g, relative to the largest |f(x)|; one style for all of them."""
    elements = range(len(group))
    with torch.no_grad():
        moved = function(torch.cat([move(group, g, x) for g in elements]), styles(seed).expand(len(group), -1))
        before = function(x, styles(seed))
        error = moved - torch.cat([move(group, g, before) for g in elements])
        return float(error.abs().max() / before.abs().max())


def pool(x: Tensor) -> Tensor:
    return functional.avg_pool3d(x, 2)


def same(x: Tensor) -> Tensor:
    return x


def smooth(x: Tensor) -> Tensor:
    return upsample(x, "trilinear")


def nearest(x: Tensor) -> Tensor:
    return upsample(x, "nearest")


def one_sided(x: Tensor) -> Tensor:
    """The original's transposed convolution, with the mildest of kernels: every weight is equal."""
    channels = x.shape[1]
    return functional.conv_transpose3d(x, torch.ones(channels, 1, 3, 3, 3), None, 2, 1, 1, channels)


def volumes(size: int) -> Tensor:
    return torch.randn(1, 3, size, size, size, generator=torch.Generator().manual_seed(size))


def styles(seed: int) -> Tensor:
    return 2 * torch.randn(1, STYLE, generator=torch.Generator().manual_seed(seed))


@each_group
@pytest.mark.parametrize(
    ("size", "resize"), [(4, same), (5, same), (4, smooth), (3, smooth), (3, nearest), (4, pool), (6, pool)]
)
def test_equation_10(name: GroupName, size: int, resize: Resize) -> None:
    group = grid_group(name)
    stack = Stack(group, resize)
    for seed in range(3):
        assert relative_error(stack, group, volumes(size), seed) < 1e-5


@each_group
@pytest.mark.parametrize("size", [3, 4])
def test_fields_move_with_their_orientations(name: GroupName, size: int) -> None:
    group = grid_group(name)
    stack = Stack(group, smooth)
    with torch.no_grad():
        before = stack.fields(volumes(size), styles(0))
        for element in range(0, len(group), 5):
            after = stack.fields(move(group, element, volumes(size)), styles(0))
            error = (after - move_fields(group, element, before)).abs().max() / before.abs().max()
            assert error < 1e-5
            wrong = (after - move(group, element, before)).abs().max() / before.abs().max()
            assert element == 0 or wrong > 0.1, "moving space alone is not enough"


@each_group
def test_plain_convolutions_break_equation_10(name: GroupName) -> None:
    group, plain = grid_group(name), Stack(grid_group("none"), same)
    for size in (4, 5):
        assert relative_error(plain, group, volumes(size)) > 0.1


@each_group
def test_one_sided_upsampling_breaks_equation_10(name: GroupName) -> None:
    group = grid_group(name)
    stack = Stack(group, one_sided)
    assert relative_error(stack, group, volumes(4)) > 0.1


def test_a_style_per_orientation_breaks_equation_10() -> None:
    group = grid_group("c4v")
    stack = Stack(group, same)
    scale = torch.arange(3 * len(group)).remainder(len(group)).eq(0).float()[:, None, None, None]
    stack.resize = lambda x: x * scale
    assert relative_error(stack, group, volumes(4)) > 0.1


@each_group
def test_an_encoder_is_invariant_after_pooling(name: GroupName) -> None:
    group = grid_group(name)
    stack = Stack(group, pool)

    def encode(x: Tensor, style: Tensor) -> Tensor:
        return project(stack.fields(x, style), group).mean((-3, -2, -1), keepdim=True)

    assert relative_error(encode, group, volumes(6)) < 1e-5
    plain = Stack(grid_group("none"), pool)
    with torch.no_grad():
        first = plain.fields(volumes(6), styles(0)).mean((-3, -2, -1))
        second = plain.fields(move(group, 1, volumes(6)), styles(0)).mean((-3, -2, -1))
    assert (first - second).abs().max() > 1e-2 * first.abs().max()


@pytest.mark.parametrize("name", ["none", "c4v"])
def test_group_convolution_against_the_sum_in_its_docstring(name: GroupName) -> None:
    group = grid_group(name)
    layer = GroupConv(STYLE, 2, 3, group).double()
    x, style = torch.randn(2, 2 * len(group), 4, 4, 4).double(), torch.randn(2, STYLE).double()
    weight = layer.weight.unflatten(-1, (len(group), 3, 3, 3)) * layer.style(style)[:, None, :, None, None, None, None]
    weight = weight / weight.square().sum((2, 3, 4, 5, 6), keepdim=True).sqrt()
    for b in range(2):
        for g in range(len(group)):
            total = torch.zeros(3, 4, 4, 4).double()
            for h in range(len(group)):
                kernel = move(group, g, weight[b, :, :, group.product[group.inverse[g], h]])
                total = total + functional.conv3d(x[b, h :: len(group)], kernel, padding=1)
            torch.testing.assert_close(layer(x, style)[b, g :: len(group)], total, atol=1e-6, rtol=1e-6)


def test_gradients_reach_every_weight_in_double_precision() -> None:
    group = grid_group("mirror")
    for layer, channels in (
        (LiftingConv(2, 2, 2, group), 2),
        (GroupConv(2, 1, 2, group), 2),
        (InvariantConv(2, 2, 1, group), 2),
    ):
        layer.double()
        x = torch.randn(1, channels, 3, 3, 3).double().requires_grad_()
        style = torch.randn(1, 2).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, style, weight: layer(x, style), (x, style, layer.weight), rtol=1e-2)  # noqa: B023
