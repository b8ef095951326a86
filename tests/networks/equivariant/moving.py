"""How volumes and regular fields move: the reference that layers are held to."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from raylift.networks.equivariant.groups import GridGroup, act_on_volume


def move(group: GridGroup, element: int, volume: Float[Tensor, "*B X Y Z"]) -> Tensor:
    """(g v)(p) = v(g^-1 p)."""
    return act_on_volume(group.matrices[element], volume)


def move_fields(group: GridGroup, element: int, fields: Float[Tensor, "B _ X Y Z"]) -> Tensor:
    """(k f)_g = k f_(k^-1 g), for channels that are (field, orientation)."""
    before = group.product[group.inverse[element]]
    return move(group, element, fields.unflatten(1, (-1, len(group)))[:, :, before.tolist()]).flatten(1, 2)
