"""Modulated convolutions that commute with a group, for every style: lift, group, and invariant kernels.

With g acting on volumes by (g v)(p) = v(g^-1 p) and on fields by (k f)_g = k f_(k^-1 g), each layer L satisfies
L(g x) = g L(x), equation 10 (group convolutions: Cohen and Welling 2016; on voxels: Worrall and Brostow 2018, Winkels
and Cohen 2018). The paper names SE(3): on a grid only the groups here are exact; continuous rotations are not.

Modulation keeps this: scales are constant over space and orientation, and the demodulation sums over inputs,
orientations and kernel, which any element only permutes. Zero padding is symmetric. Pointwise non-linearities and
``modulated.upsample`` commute too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.networks.equivariant.groups import KERNEL, GridGroup
from raylift.networks.modulated import ModulatedConv

_CUBE = (KERNEL,) * 3


class LiftingConv(ModulatedConv):
    """Scalar channels to regular fields: out_g = x * (g w), a kernel in every orientation.

    Args:
        style_features: size of the style.
        in_channels: scalar channels.
        out_fields: fields; the output has ``len(group)`` channels of each, next to each other.
        group: the group.
    """

    cells: Tensor

    def __init__(self, style_features: int, in_channels: int, out_fields: int, group: GridGroup) -> None:
        super().__init__(style_features, (out_fields, in_channels, KERNEL**3))
        self.output_copies = len(group)
        self.register_buffer("cells", group.kernel_cells, persistent=False)

    def kernel(self) -> Float[Tensor, "O I 3 3 3"]:
        return _oriented(self.weight, self.cells).flatten(0, 1).unflatten(-1, _CUBE)


class GroupConv(ModulatedConv):
    """Regular fields to regular fields: out_g = sum_h f_h * (g w)[g^-1 h].

    Args:
        style_features: size of the style.
        in_fields, out_fields: fields, of ``len(group)`` channels each.
        group: the group.
    """

    cells: Tensor

    def __init__(self, style_features: int, in_fields: int, out_fields: int, group: GridGroup) -> None:
        super().__init__(style_features, (out_fields, in_fields, len(group) * KERNEL**3))
        self.input_copies = self.output_copies = len(group)
        relative = torch.from_numpy(group.product[group.inverse])  # [g, h] -> g^-1 h
        cells = relative[:, :, None] * KERNEL**3 + group.kernel_cells[:, None]
        self.register_buffer("cells", cells.flatten(1), persistent=False)

    def kernel(self) -> Float[Tensor, "O I 3 3 3"]:
        kernels = _oriented(self.weight, self.cells).unflatten(-1, (self.input_copies, *_CUBE))
        return kernels.flatten(2, 3).flatten(0, 1)


class InvariantConv(ModulatedConv):
    """Scalar channels to scalar channels: cells of the kernel that the group maps onto each other share a weight.

    Args:
        style_features: size of the style.
        in_channels, out_channels: scalar channels.
        group: the group.
        demodulate: whether outputs have unit scale; False for a head.
        gain: factor of the initial weights.
    """

    orbits: Tensor

    def __init__(
        self,
        style_features: int,
        in_channels: int,
        out_channels: int,
        group: GridGroup,
        demodulate: bool = True,
        gain: float = 1.0,
    ) -> None:
        shape = (out_channels, in_channels, group.num_orbits)
        super().__init__(style_features, shape, in_channels * KERNEL**3, demodulate, gain)
        self.register_buffer("orbits", group.orbits, persistent=False)

    def kernel(self) -> Float[Tensor, "O I 3 3 3"]:
        return self.weight[..., self.orbits].unflatten(-1, _CUBE)


def project(fields: Float[Tensor, "B _ X Y Z"], group: GridGroup) -> Tensor:
    """Regular fields to scalar channels: the mean over orientations."""
    return fields.unflatten(1, (-1, len(group))).mean(2) if len(group) > 1 else fields


def _oriented(weight: Float[Tensor, "O I W"], cells: Int[Tensor, "G W"]) -> Float[Tensor, "O G I W"]:
    """The weights in every orientation, by the tables of where each of them comes from."""
    if len(cells) == 1:
        return weight[:, None]
    # Whole rows are moved, which is many times faster than single numbers, above all in the backward pass.
    rows = weight.movedim(-1, 0).flatten(1).index_select(0, cells.flatten())
    return rows.reshape(*cells.shape, *weight.shape[:2]).permute(2, 0, 3, 1)
