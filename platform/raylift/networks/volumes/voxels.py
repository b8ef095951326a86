"""Volumes as feature grids: their generator, and how points read them."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.precision import at_least_float32
from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.voxels import grid_points
from raylift.networks.equivariant.convolutions import GroupConv, InvariantConv, LiftingConv, project
from raylift.networks.equivariant.groups import grid_group
from raylift.networks.modulated import activate, channels_last, upsample
from raylift.networks.point_sampling import sample_volume
from raylift.networks.volumes.config import COARSEST, VolumeConfig
from raylift.networks.volumes.fields import OUTPUTS, stage_fields
from raylift.networks.volumes.geometry import Geometry
from raylift.networks.volumes.volume import Volume

HEAD_GAIN = 0.1
"""Factor of a head's initial weights: the initial ball dominates, yet every layer has a gradient."""


class VoxelVolume(Volume):
    """Trilinear reads of a grid of raw geometry and RGB, between its cells' centres.

    The raw scalar is interpolated, then turned into a density.

    Args:
        grid: raw geometry, indexed [x, y, z].
        rgb: in [0, 1], at the same cells.
        geometry: turns raw scalars into densities.
        half_extent: half the cube's edge, in world units.
    """

    def __init__(
        self,
        grid: Float[Tensor, "B 1 R R R"],
        rgb: Float[Tensor, "B 3 R R R"],
        geometry: Geometry,
        half_extent: float,
    ) -> None:
        super().__init__(geometry, half_extent, grid.shape[-1])
        self.grid = grid
        self.rgb = rgb

    @property
    def batch(self) -> Tensor:
        return self.grid

    def raw(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        return self._read(self.grid, points)[..., 0]

    def features(self, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        return self._read(self.rgb, points)

    def cells(self, resolution: int) -> tuple[Float[Tensor, "B R R R"], Float[Tensor, "B 3 R R R"]]:
        if resolution == self.grid.shape[-1]:
            return self.grid[:, 0], self.rgb
        # The same numbers as trilinear reads at the cells' centres.
        size = (resolution,) * 3
        raw = functional.interpolate(self.grid, size, mode="trilinear", align_corners=False)
        return raw[:, 0], functional.interpolate(self.rgb, size, mode="trilinear", align_corners=False)

    def _read(self, grid: Tensor, points: Tensor) -> Tensor:
        return sample_volume(grid, points * (GRID_HALF_EXTENT / self.half_extent))


class VoxelGenerator(nn.Module):
    """A learned 4^3 constant and a latent to a grid of raw geometry and RGB.

    The constant's scalar channels are lifted to regular fields of the config's group at 4^3; one group convolution per
    doubling follows, up to ``resolution``; the mean over orientations is upsampled to ``bake_resolution`` and goes
    through a head with an invariant kernel. Every part commutes with the group: moving the constant by g moves the
    volume by g, for every latent (equation 10). The group "none" has one element, and all this is then ordinary
    modulated convolutions.

    ``symmetric`` averages the output with its mirror image, so both sides are exactly equal. Where the group has the
    mirror, the constant is averaged as well: all fields are then symmetric, and the output's average changes nothing
    but the last bits. The original averages its features with their mirror image, then applies an unconstrained
    occupancy head, so its shapes are not symmetric. It also leaves RGB to a 2D decoder after rendering, which can paint
    a background; here RGB is a property of the volume.

    Args:
        config: of representation "voxels".
        style_features: size of the latent.
    """

    places: Tensor

    def __init__(self, config: VolumeConfig, style_features: int) -> None:
        super().__init__()
        self.config = config
        self.group = grid_group(config.group)
        width, fields = config.stage_widths[0], stage_fields(config, style_features)
        self.constant = nn.Parameter(torch.randn(width, *(COARSEST,) * 3))
        layers: list[nn.Module] = [LiftingConv(style_features, width, fields[0], self.group)]
        layers += [GroupConv(style_features, *pair, self.group) for pair in pairwise(fields)]
        self.stages = nn.ModuleList(layers)
        self.head = InvariantConv(style_features, fields[-1], OUTPUTS, self.group, demodulate=False, gain=HEAD_GAIN)
        size = config.bake_resolution
        cells = torch.from_numpy(grid_points(size, config.half_extent)).reshape(size, size, size, 3)
        self.register_buffer("places", cells, persistent=False)

    def forward(self, style: Float[Tensor, "B Z"], geometry: Geometry) -> VoxelVolume:
        x = self.features(style)
        # The head is outside of mixed precision: bf16 keeps 8 bits, too few for a distance near zero.
        with torch.autocast(x.device.type, enabled=False):
            output = self.head(at_least_float32(x), at_least_float32(style))
            if self.config.symmetric:
                output = 0.5 * (output + output.flip(2))
            raw = geometry.raw(output[:, :1].contiguous(), self.places)
            return VoxelVolume(raw, torch.sigmoid(output[:, 1:].contiguous()), geometry, self.config.half_extent)

    def features(self, style: Float[Tensor, "B Z"]) -> Float[Tensor, "B C R R R"]:
        """Scalar channels at the head's resolution."""
        constant: Tensor = self.constant
        if self.config.symmetric and self.group.has_mirror:
            constant = 0.5 * (constant + constant.flip(1))
        x = channels_last(constant.expand(len(style), *constant.shape))
        for index, stage in enumerate(self.stages):
            x = activate(stage(upsample(x, self.config.upsampling) if index else x, style))
        x = project(x, self.group)
        return upsample(x, self.config.upsampling) if x.shape[-1] < self.config.bake_resolution else x
