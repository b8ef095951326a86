"""What every decoded volume answers, however it is represented."""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from raylift.core.device_memory import refuse_too_large
from raylift.networks.volumes.geometry import Geometry
from raylift.rendering.volume.grid import VolumeGrid


class Volume(ABC):
    """B coloured shapes over [-half_extent, half_extent]^3, one per latent.

    Points are world coordinates. Coordinates and results are at least float32, whatever autocast says. Beyond the cube
    nothing is: the density is 0 and the value positive, so a surface that reaches the border is closed there.

    Args:
        geometry: turns raw scalars into densities and values.
        half_extent: half the cube's edge, in world units.
        bake_resolution: default resolution of ``bake``.
    """

    def __init__(self, geometry: Geometry, half_extent: float, bake_resolution: int) -> None:
        self.geometry = geometry
        self.half_extent = half_extent
        self.bake_resolution = bake_resolution

    @abstractmethod
    def raw(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        """What the network predicts: a signed distance in world units, or an occupancy's logit."""

    @abstractmethod
    def features(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """RGB in [0, 1]."""

    @abstractmethod
    def cells(self, resolution: int) -> tuple[Float[Tensor, "B R R R"], Float[Tensor, "B 3 R R R"]]:
        """``raw`` and ``features`` at the centres of a grid's cells, indexed [x, y, z]."""

    @property
    @abstractmethod
    def batch(self) -> Tensor:
        """A tensor whose first axis is the batch, on the device of the volume."""

    @property
    def numbers_per_cell(self) -> int:
        """Numbers that a bake holds at once per cell: raw geometry, density and RGB."""
        return 5

    def density(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        """Optical density per world unit (sdf), or an occupancy in [0, 1]."""
        outside = points.detach().abs().amax(-1) > self.half_extent
        return self.geometry.density(self.raw(points)).masked_fill(outside, 0.0)

    def values(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        """A scalar that is negative inside, for marching cubes: the signed distance, or the level minus the occupancy.

        The shape is intersected with the cube, so its mesh is closed.
        """
        return self.geometry.values(self.raw(points)).maximum(points.abs().amax(-1) - self.half_extent)

    def bake(self, resolution: int | None = None) -> VolumeGrid:
        """Densities and colours at the centres of a grid's cells.

        Args:
            resolution: cells per edge; the config's ``bake_resolution`` by default.

        Raises:
            ConfigError: the grid needs more memory than is free. Raised before anything is allocated.
        """
        resolution = self.bake_resolution if resolution is None else resolution
        num_bytes = 4 * len(self.batch) * self.numbers_per_cell * resolution**3
        refuse_too_large(num_bytes, f"a {resolution}^3 grid of {len(self.batch)} shapes", self.batch.device)
        raw, rgb = self.cells(resolution)
        return VolumeGrid(self.geometry.density(raw), rgb, self.half_extent, self.geometry.density_kind)
