"""Training objects that a model may keep as part of its state: shapes to look up."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class ExampleRequest:
    """How many training objects a model keeps, and how much of each.

    Attributes:
        num_objects: maximum number of objects; a larger training split is subsampled evenly, in order of id.
        num_views: maximum number of silhouettes per object.
        silhouette_px: side of a silhouette in pixels.
        num_points: surface points per object.
    """

    num_objects: int = 1000
    num_views: int = 12
    silhouette_px: int = 16
    num_points: int = 500

    def __post_init__(self) -> None:
        if min(self.num_objects, self.num_views, self.silhouette_px, self.num_points) < 1:
            raise ConfigError(f"invalid example request: {self}", "use at least 1 for every value")


@dataclass(frozen=True)
class Examples:
    """Training objects, the same on every rank.

    Attributes:
        sdf: signed distance in world units, negative inside, cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
        points: surface points, world frame.
        silhouettes: coverage in [0, 1] in the training images.
        owners: index of each silhouette's object.
        bodies: body number of each object; objects with the same body share it.
        samples: body number by object id, for every object of the training split, kept or not.
        ids: object id of each.
        categories: index in ``DatasetInfo.categories`` by object id, for every object of the training split.
    """

    sdf: Float[Tensor, "C R R R"]
    points: Float[Tensor, "C P 3"]
    silhouettes: Float[Tensor, "S H H"]
    owners: Tensor
    bodies: Tensor
    samples: dict[str, int]
    ids: tuple[str, ...]
    categories: dict[str, int]
