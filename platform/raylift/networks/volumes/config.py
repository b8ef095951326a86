"""Config of the volume decoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError
from raylift.core.types import GRID_HALF_EXTENT
from raylift.networks.equivariant.groups import GroupName
from raylift.networks.volumes.geometry import check_geometry

Representation = Literal["voxels", "triplane"]
GeometryKind = Literal["occupancy", "sdf"]
Combination = Literal["sum", "product", "concat"]
Upsampling = Literal["trilinear", "nearest"]
COARSEST = 4
"""Cells per edge of the learned constant."""


@dataclass(frozen=True)
class VolumeConfig:
    """A decoder from a latent to a coloured volume over [-half_extent, half_extent]^3.

    Attributes:
        representation: "voxels" (one feature grid) or "triplane" (three feature planes and a small network per point).
        geometry: "occupancy" (sigmoid), or "sdf" (signed distances turned into a Laplace density).
        resolution: cells per edge of the feature grid (voxels), or pixels per edge of a plane; 4 times a power of two.
        bake_resolution: default cells per edge of a baked grid. For voxels it is also the resolution of the last
            convolution, and ``resolution`` or twice as much.
        width: channels of the learned constant; halved with every doubling of the resolution, down to ``channels``.
        channels: channels of the feature grid, or of each plane.
        hidden: width of the network that decodes a point's plane features (triplane only).
        combine: how the three plane features become one: "sum", "product" (starts near 1) or "concat".
        group: group under which the convolutions are equivariant: "none", "mirror" (2 elements), "c4v" (8), "o" (24) or
            "oh" (48). The number of fields is chosen for as many parameters as without a group. Voxels only.
        symmetric: whether shape and colour are exactly equal at (x, y, z) and (-x, y, z).
        upsampling: "trilinear" (smooth) or "nearest" (faster); bilinear for planes.
        half_extent: half the cube's edge, in world units.
        initial_radius: radius of the initial ball, in world units.
        initial_beta: initial width of an sdf's surface, in world units.
        level: occupancy of the surface (the original's demo uses 0.1).
    """

    representation: Representation = "voxels"
    geometry: GeometryKind = "occupancy"
    resolution: int = 16
    bake_resolution: int = 32
    width: int = 64
    channels: int = 16
    hidden: int = 32
    combine: Combination = "sum"
    group: GroupName = "none"
    symmetric: bool = False
    upsampling: Upsampling = "trilinear"
    half_extent: float = GRID_HALF_EXTENT
    initial_radius: float = 0.3
    initial_beta: float = 0.1
    level: float = 0.1

    def __post_init__(self) -> None:
        factor = self.resolution // COARSEST
        if factor < 1 or self.resolution % COARSEST or factor & (factor - 1):
            raise ConfigError(f"volume.resolution is {self.resolution}", "use 4 times a power of two, such as 16 or 64")
        if self.representation == "voxels" and self.bake_resolution not in (self.resolution, 2 * self.resolution):
            raise ConfigError(
                f"volume.bake_resolution is {self.bake_resolution} and volume.resolution {self.resolution}",
                f"use {self.resolution} or {2 * self.resolution}",
            )
        if self.bake_resolution < 2:
            raise ConfigError(f"volume.bake_resolution is {self.bake_resolution}", "use at least 2")
        if not 1 <= self.channels <= self.width:
            raise ConfigError(
                f"volume.channels is {self.channels} and volume.width {self.width}",
                "use at least 1 channel, and a width of at least that",
            )
        if self.hidden < 1:
            raise ConfigError(f"volume.hidden is {self.hidden}", "use at least 1")
        if self.half_extent <= 0:
            raise ConfigError(f"volume.half_extent is {self.half_extent}", f"use a length, such as {GRID_HALF_EXTENT}")
        if self.representation == "triplane" and self.group != "none":
            raise ConfigError(
                f"volume.group is {self.group!r} for a triplane",
                "use representation=voxels, or symmetric=true for a mirror-symmetric triplane",
            )
        check_geometry(self.initial_radius, self.initial_beta, self.level, self.half_extent)

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """Channels at 4, 8, ... up to ``resolution`` cells per edge."""
        doublings = (self.resolution // COARSEST).bit_length() - 1
        return (*(max(self.width >> index, self.channels) for index in range(doublings)), self.channels)
