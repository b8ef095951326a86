"""The octahedral chart of the sphere, and a sphere mesh that it unfolds without a stretched pole.

A direction is divided by the sum of its absolute coordinates, which puts it on the octahedron |x| + |y| + |z| = 1. The
upper half (y > 0) is seen from above and fills a diamond in the unit square; the four lower faces are folded outwards
into the square's corners (Praun and Hoppe 2003; Cigolle et al. 2014).

    v = 1   -Y -------- -Z -------- -Y      The front +Z is at the bottom edge's middle, +X at the right edge's, the top
             |  lower  /  \\  lower  |      +Y in the centre. All four corners are -Y: the seams, where the square is
             |       /      \\       |      glued, are on the lower half only, which pictures rarely show.
    v = .5  -X ----    +Y    ---- +X
             |       \\      /       |      Each edge is glued to itself, turned about its middle: (1, v) is the same
             |  lower  \\  /  lower  |      point as (1, 1 - v), and (u, 0) the same as (1 - u, 0).
    v = 0   -Y -------- +Z -------- -Y
            u = 0      u = .5      u = 1

Seen from outside the surface, the chart is not mirrored: faces are counter-clockwise on both. A texture of N x N texels
has the centre of texel (row j, column i) at u = (i + 0.5) / N, v = (j + 0.5) / N: row 0 is at the bottom.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from raylift.core.errors import ConfigError

FINEST_LEVEL = 128
USUAL_LEVEL = 12
"""578 vertices and 1152 faces."""


def directions_of(uvs: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N 3"]:
    """The unit direction shown at chart coordinates in [0, 1]^2."""
    a, b = (2 * uvs - 1).unbind(-1)
    y = 1 - a.abs() - b.abs()
    folded = (-y).clamp(min=0)
    return functional.normalize(torch.stack([a - _side(a) * folded, y, -(b - _side(b) * folded)], dim=-1), dim=-1)


def _side(value: Tensor) -> Tensor:
    """The sign, 1 for zero: a point on a fold belongs to one side."""
    return torch.where(value < 0, -torch.ones_like(value), torch.ones_like(value))


def octasphere(
    level: int = USUAL_LEVEL,
) -> tuple[Float[Tensor, "V 3"], Int64[Tensor, "F 3"], Float[Tensor, "F 3 2"]]:
    """A sphere mesh whose faces are triangles of a regular lattice in the chart.

    The lattice has 2 level x 2 level cells, each cut in two along the octahedron's lines |a| + |b| = constant,
    so no face crosses a fold and no quad of faces is larger in the chart than another.

    Args:
        level: segments per edge of the octahedron.

    Returns:
        unit vertices, 4 level^2 + 2, symmetric about all three coordinate planes; faces, 8 level^2, counter-clockwise
        seen from outside; each face's chart coordinates, counter-clockwise too. A vertex on the square's border has
        several.

    Raises:
        ConfigError: the level is not between 1 and 128.
    """
    if not 1 <= level <= FINEST_LEVEL:
        raise ConfigError(
            f"the octasphere's level is {level}", f"use a level from 1 to {FINEST_LEVEL}; {USUAL_LEVEL} is usual"
        )
    side = 2 * level
    column, row = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy")
    i, j = column.flatten(), row.flatten()
    corners = torch.stack([i, j, i + 1, j, i + 1, j + 1, i, j + 1], dim=1).reshape(-1, 4, 2)
    # In the first and third quadrant (a b > 0) fold lines fall from left to right, in the others they rise.
    falls = (i < level) == (j < level)
    first = torch.where(falls[:, None], torch.tensor([0, 1, 3]), torch.tensor([0, 1, 2]))
    second = torch.where(falls[:, None], torch.tensor([1, 2, 3]), torch.tensor([0, 2, 3]))
    order = torch.stack([first, second], dim=1)
    lattice = corners[:, None].expand(-1, 2, -1, -1).gather(2, order[..., None].expand(-1, -1, -1, 2)).reshape(-1, 3, 2)
    owner, place = _glued(side)
    faces = owner[lattice[..., 1], lattice[..., 0]]
    return directions_of(place.double() / side).float(), faces, (lattice.double() / side).float()


def _glued(side: int) -> tuple[Int64[Tensor, "S S"], Int64[Tensor, "V 2"]]:
    """The vertex at each lattice point (row, column), points that the border glues being one; the first one of each."""
    row, column = torch.meshgrid(torch.arange(side + 1), torch.arange(side + 1), indexing="ij")
    on_side = (column == 0) | (column == side)
    on_end = (row == 0) | (row == side)
    kept_row = torch.where(on_side, torch.minimum(row, side - row), row)
    kept_column = torch.where(on_end, torch.minimum(column, side - column), column)
    corner = on_side & on_end
    first = torch.where(corner, torch.zeros_like(row), kept_row * (side + 1) + kept_column)
    kept, owner = first.flatten().unique(return_inverse=True)
    place = torch.stack([kept % (side + 1), kept // (side + 1)], dim=1)
    return owner.reshape(side + 1, side + 1), place


def pad_octahedral(texture: Float[Tensor, "*B N N"], pad: int) -> Float[Tensor, "*B M M"]:
    """Continue a texture across the square's border, as the chart does on the sphere: M = N + 2 pad.

    Beyond the right edge, (1 + e, v) is (1 - e, 1 - v); beyond a corner it is the opposite corner. Bilinear reading of
    the result, or a convolution, has no seam. Differentiable.

    Raises:
        ConfigError: the pad is negative or larger than the texture.
    """
    side = texture.shape[-1]
    if not 0 <= pad <= side or texture.shape[-2] != side:
        raise ConfigError(
            f"padding {list(texture.shape[-2:])} texels by {pad}", "use a square texture and a pad from 0 to its side"
        )
    for axis, other in ((-1, -2), (-2, -1)):
        low = texture.narrow(axis, 0, pad).flip(axis).flip(other)
        high = texture.narrow(axis, side - pad, pad).flip(axis).flip(other)
        texture = torch.cat([low, texture, high], dim=axis)
    return texture
