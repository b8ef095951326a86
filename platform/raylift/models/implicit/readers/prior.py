"""Training shapes similar to the input, read at a point: a guess at hidden parts, or a distance to correct."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.voxels import grid_points
from raylift.models.implicit.config import PriorConfig
from raylift.models.implicit.readers.gaps import gap_channels
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State
from raylift.models.implicit.readers.volumes import read_volumes
from raylift.models.implicit.view import View, without_mixed_precision
from raylift.networks.point_sampling import sample_map, sample_volume
from raylift.networks.shape_bank import REACH, Search, ShapeBank
from raylift.networks.voxel_encoder import VoxelPyramid

GRID_RESOLUTION = 32
"""Truncation of the true grids in data sets."""
_NUM_AVERAGES = 4
_CARVE_SCALE = 0.15
"""Scale, in half image sizes, at which the carved grid saturates."""


class PriorReader(Reader):
    """Neighbours among the training shapes: each one's distance, their averages, and volumes made of those.

    The encoded grid holds the neighbours' occupancy and distance, averaged by similarity and uniformly, and the carving
    distances from the view and its mirror image: those outside of the input's silhouette, or the gaps if depth is
    given.

    Args:
        config: number of neighbours and how they are used.
        gap_scales: scales of the depth's gaps, world units.
        resolution: cells per edge of the grid.
        width, stride: width and stride of the volumes' encoder.
    """

    cells: Tensor

    def __init__(
        self,
        config: PriorConfig,
        gap_scales: Sequence[float],
        resolution: int,
        width: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.config, self.resolution, self.gap_scales = config, resolution, tuple(gap_scales)
        self.search = Search(stretch=config.stretch) if config.stretch else Search(num_stretched=0)
        self.bank = ShapeBank()
        num_carving = 0 if not config.carve else len(self.gap_scales) + 1 if config.depth else 1
        self.encoder = VoxelPyramid(_NUM_AVERAGES + 2 * num_carving, width, stride)
        self.width = sum(self.encoder.channels) + (config.num_neighbors if config.each else 0)
        self.register_buffer("cells", torch.from_numpy(grid_points(resolution)), persistent=False)

    def encode(self, view: View) -> State:
        coverage, config = view.coverage, self.config
        with without_mixed_precision(coverage):
            depth = view.depth if config.depth else None
            near = self.bank.nearest(coverage, view.camera, view.batch.ids, config.num_neighbors, self.search, depth)
            shapes = self.bank.volumes(near)
            grid = _averages(shapes, torch.softmax(-near.distances / config.temperature, 1))
            if config.carve:
                carving = self._gaps(view) if config.depth else self._outside(view)
                grid = torch.cat([grid, carving, carving.flip(2)], 1)
        return (shapes / REACH, *self.encoder(grid))

    def read(self, state: State, query: Query) -> Reading:
        shapes, *volumes = state
        features = read_volumes(self.encoder, volumes, query)
        if self.config.each:
            features = torch.cat([features, sample_volume(shapes, query.points)], -1)
        return Reading(features, told=self._told(volumes[0], query) if self.config.residual else None)

    def _gaps(self, view: View) -> Float[Tensor, "B C R R R"]:
        """The depth's gaps at the cells."""
        depth = view.depth
        cells = self.cells.to(depth.dtype).expand(len(depth), -1, -1)
        channels = gap_channels(depth, Query(view.camera, cells), self.gap_scales)
        return torch.stack(channels, 1).reshape(len(depth), -1, *(self.resolution,) * 3)

    def _outside(self, view: View) -> Float[Tensor, "B 1 R R R"]:
        """The silhouette's distance at the projections of the cells."""
        distance = view.batch["mask_distance"]
        cells = self.cells.to(distance.dtype).expand(len(distance), -1, -1)
        values = sample_map(distance, Query(view.camera, cells).uv) / _CARVE_SCALE
        return values.clamp(max=1.0).mT.reshape(len(distance), 1, *(self.resolution,) * 3)

    def _told(self, grid: Tensor, query: Query) -> Float[Tensor, "B N"]:
        """max(the neighbours' mean distance, the carving distance): inside only where both are."""
        values = sample_volume(grid, query.points)
        told = values[..., 3]
        if self.config.carve:
            # The gap's finest scale comes first; both are above 0 where there is certainly nothing.
            outside = values[..., _NUM_AVERAGES]
            told = torch.where(outside > 0, torch.maximum(told, outside), told)
        return REACH * told


def _averages(shapes: Float[Tensor, "B K R R R"], shares: Float[Tensor, "B K"]) -> Float[Tensor, "B 4 R R R"]:
    """Average occupancy and distance of neighbours, weighted by ``shares`` and uniformly, all in [-1, 1]."""
    inside = (shapes < 0).to(shapes.dtype)
    parts = [
        2 * torch.einsum("bk,bkxyz->bxyz", shares, inside) - 1,
        torch.einsum("bk,bkxyz->bxyz", shares, shapes) / REACH,
        2 * inside.mean(1) - 1,
        shapes.mean(1) / REACH,
    ]
    return torch.stack(parts, 1)
