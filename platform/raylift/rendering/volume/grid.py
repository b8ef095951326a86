"""What a volume renderer reads: density and features at the cell centres of a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import ConfigError, DataError
from raylift.core.types import GRID_HALF_EXTENT

VolumeKind = Literal["density", "occupancy"]


@dataclass(frozen=True)
class VolumeGrid:
    """B volumes over [-half_extent, half_extent]^3, indexed [x, y, z] along the world axes of ``core.types``.

    Values belong to cell centres. Between them they are interpolated trilinearly, with zeros beyond the border, as
    ``grid_sample(align_corners=False, padding_mode="zeros")`` does.

    Attributes:
        density: for kind "density", optical density >= 0 per world unit; for kind "occupancy", the probability in
            [0, 1] that a ray is stopped at a sample.
        features: RGB or any other features, C channels.
        half_extent: half the edge of the box, in world units.
        kind: "density" or "occupancy".

    Raises:
        DataError: tensors whose shapes, types or devices do not fit together.
        ConfigError: an impossible extent or kind.
    """

    density: Float[Tensor, "B X Y Z"]
    features: Float[Tensor, "B C X Y Z"]
    half_extent: float = GRID_HALF_EXTENT
    kind: VolumeKind = "density"

    def __post_init__(self) -> None:
        density, features = self.density, self.features
        if self.kind not in get_args(VolumeKind):
            raise ConfigError(f"unknown kind of volume {self.kind!r}", f"use one of {', '.join(get_args(VolumeKind))}")
        if not 0 < self.half_extent < math.inf:
            raise ConfigError(f"half_extent is {self.half_extent}", "use a length above 0, such as 0.55")
        if density.ndim != 4 or features.ndim != 5 or density.shape != features[:, 0:1].flatten(0, 1).shape:
            raise DataError(
                f"a density of shape {tuple(density.shape)} does not fit features of shape {tuple(features.shape)}",
                "use [B, X, Y, Z] and [B, C, X, Y, Z] with at least one channel",
            )
        if 0 in density.shape:
            raise DataError(f"a volume of shape {tuple(density.shape)} has no cells", "use at least one cell per axis")
        if density.device != features.device or not (density.is_floating_point() and features.is_floating_point()):
            raise DataError(
                f"density is {density.dtype} on {density.device}, features are {features.dtype} on {features.device}",
                "use floating-point tensors on one device",
            )

    def __len__(self) -> int:
        return int(self.density.shape[0])

    def check_values(self) -> None:
        """Check that every value is finite and every density possible; on a GPU this waits for the device.

        Raises:
            DataError: values that are not finite, negative densities, or occupancies outside [0, 1].
        """
        low, high = (float(value) for value in torch.aminmax(self.density.detach()))
        largest = 1.0 if self.kind == "occupancy" else math.inf
        remedy = "a diverged decoder gives such values: use a lower learning rate, or a bounded activation"
        if not (low >= 0 and high <= largest and math.isfinite(high)):
            raise DataError(f"{self.kind} is from {low:g} to {high:g}", f"use 0 to {largest:g}; {remedy}")
        if not all(math.isfinite(float(value)) for value in torch.aminmax(self.features.detach())):
            raise DataError("the volume's features are not all finite", remedy)
