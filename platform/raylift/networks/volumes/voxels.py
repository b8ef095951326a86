"""Volumes as feature grids: their generator, and how points read them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.voxels import grid_points
from raylift.networks.point_sampling import sample_volume
from raylift.networks.volumes.config import COARSEST, VolumeConfig
from raylift.networks.volumes.geometry import Geometry
from raylift.networks.volumes.modulated import ModulatedConv, activate, channels_last, upsample
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

    One modulated convolution per scale: 4^3, 8^3, ... up to ``resolution``; then a head at ``bake_resolution``. The
    original averages its features with their mirror image, then applies an unconstrained occupancy head, so its shapes
    are not symmetric; here ``symmetric`` averages what the head returns. It also leaves RGB to a 2D decoder after
    rendering, which can paint a background; here RGB is a property of the volume.

    Args:
        config: of representation "voxels".
        style_features: size of the latent.
    """

    places: Tensor

    def __init__(self, config: VolumeConfig, style_features: int) -> None:
        super().__init__()
        self.config = config
        widths = config.stage_widths
        self.constant = nn.Parameter(torch.randn(widths[0], *(COARSEST,) * 3))
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.stages = nn.ModuleList(ModulatedConv(style_features, before, after, 3) for before, after in pairs)
        self.head = ModulatedConv(style_features, widths[-1], 4, 3, demodulate=False, gain=HEAD_GAIN)
        size = config.bake_resolution
        cells = torch.from_numpy(grid_points(size, config.half_extent)).reshape(size, size, size, 3)
        self.register_buffer("places", cells, persistent=False)

    def forward(self, style: Float[Tensor, "B Z"], geometry: Geometry) -> VoxelVolume:
        x = channels_last(self.constant.expand(len(style), *self.constant.shape))
        for index, stage in enumerate(self.stages):
            x = activate(stage(upsample(x, self.config.upsampling) if index else x, style))
        if x.shape[-1] < self.config.bake_resolution:
            x = upsample(x, self.config.upsampling)
        # The head is outside of mixed precision: bf16 keeps 8 bits, too few for a distance near zero.
        with torch.autocast(x.device.type, enabled=False):
            output = self.head(x.float(), style.float())
            if self.config.symmetric:
                output = 0.5 * (output + output.flip(2))
            raw = geometry.raw(output[:, :1].contiguous(), self.places)
            return VoxelVolume(raw, torch.sigmoid(output[:, 1:].contiguous()), geometry, self.config.half_extent)
