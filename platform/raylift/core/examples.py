"""What of its training objects a model may keep: shapes to look up, as part of its own state."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class ExampleRequest:
    """How many training objects a model keeps, and how much of each.

    Attributes:
        num_objects: at most; a larger training split is thinned out evenly, by order of id.
        num_views: silhouettes of each, at most.
        silhouette_px: their side.
        num_points: points on the surface of each.
    """

    num_objects: int = 1000
    num_views: int = 12
    silhouette_px: int = 16
    num_points: int = 500

    def __post_init__(self) -> None:
        if min(self.num_objects, self.num_views, self.silhouette_px, self.num_points) < 1:
            raise ConfigError(f"an example request of {self}", "give at least 1 of everything")


@dataclass(frozen=True)
class Examples:
    """Training objects, the same on every rank.

    Attributes:
        sdf: signed distance in world units, negative inside, cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
        points: on the surface, world frame.
        silhouettes: coverage in [0, 1] of the training pictures.
        owners: of each silhouette, the object's index.
        bodies: of each object, a number that objects of one body share.
        samples: by the id of every object of the training split, kept or not, its body's number.
    """

    sdf: Float[Tensor, "C R R R"]
    points: Float[Tensor, "C P 3"]
    silhouettes: Float[Tensor, "S H H"]
    owners: Tensor
    bodies: Tensor
    samples: dict[str, int]
