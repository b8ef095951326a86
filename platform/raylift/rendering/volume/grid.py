"""A baked volume: what a ray marcher reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class VolumeGrid:
    """Values at the centres of a grid's cells over [-half_extent, half_extent]^3, indexed [x, y, z].

    Attributes:
        density: optical density per world unit, or an occupancy in [0, 1].
        features: channels at the same cells, such as RGB in [0, 1].
        half_extent: half the cube's edge, in world units.
        kind: what ``density`` holds.
    """

    density: Float[Tensor, "B X Y Z"]
    features: Float[Tensor, "B C X Y Z"]
    half_extent: float = 0.55
    kind: Literal["density", "occupancy"] = "density"
