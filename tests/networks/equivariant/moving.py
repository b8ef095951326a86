"""How regular fields move: the reference that layers are held to."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from raylift.networks.equivariant.groups import GridGroup


def move_fields(group: GridGroup, element: int, fields: Float[Tensor, "B _ X Y Z"]) -> Tensor:
    """(k f)_g = k f_(k^-1 g), for channels that are (field, orientation)."""
    before = group.product[group.inverse[element]]
    return group.act(element, fields.unflatten(1, (-1, len(group)))[:, :, before.tolist()]).flatten(1, 2)
