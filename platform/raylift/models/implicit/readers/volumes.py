"""Volumes of a 3D encoder, read at a point: equation 2 of the implicit paper, in 3D."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import GRID_HALF_EXTENT, VoxelRequest
from raylift.geometry.voxels import grid_points
from raylift.models.implicit.readers.gaps import gap_channels
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State
from raylift.models.implicit.view import View, without_mixed_precision
from raylift.networks.point_sampling import sample_volume
from raylift.networks.voxel_encoder import VoxelPyramid


def read_volumes(encoder: VoxelPyramid, volumes: Sequence[Tensor], query: Query) -> Float[Tensor, "B N F"]:
    """Read all of an encoder's volumes at the query's points, each aligned to its cells."""
    return read_volumes_at(encoder, volumes, query.points)


def read_volumes_at(
    encoder: VoxelPyramid, volumes: Sequence[Tensor], points: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N F"]:
    """Like ``read_volumes``, at any points."""
    size = volumes[0].shape[-1]
    values = []
    for volume, places in zip(volumes, encoder.places, strict=True):
        inside = places.coordinates(points / GRID_HALF_EXTENT, size, volume.shape[-1])
        values.append(sample_volume(volume, inside * GRID_HALF_EXTENT))
    return torch.cat(values, -1)


class VolumeReader(Reader):
    """A grid and the four volumes that convolutions make from it.

    Args:
        in_channels: channels of the grid.
        width: channels of the finest encoded volume.
        stride: stride of the first convolution.
        offset: distance, in world units, of further readings along both directions of each axis, as in IF-Net; 0 reads
            at the point only, as in the implicit paper (section 3.2).
    """

    def __init__(self, in_channels: int, width: int, stride: int, offset: float = 0.0) -> None:
        super().__init__()
        self.encoder = VoxelPyramid(in_channels, width, stride)
        self.offset = offset
        self.width = sum(self.encoder.channels) * (7 if offset else 1)

    @abstractmethod
    def grid(self, view: View) -> Float[Tensor, "B C R R R"]:
        """The grid to encode."""

    def encode(self, view: View) -> State:
        return tuple(self.encoder(self.grid(view)))

    def read(self, state: State, query: Query) -> Reading:
        if not self.offset:
            return Reading(read_volumes(self.encoder, state, query))
        axes = self.offset * torch.eye(3, dtype=query.points.dtype, device=query.points.device)
        steps = torch.cat([torch.zeros_like(axes[:1]), axes, -axes])
        around = (query.points[:, :, None] + steps).flatten(1, 2)
        values = read_volumes_at(self.encoder, state, around)
        # The seven readings of a point are consecutive; the one at the point itself is first.
        return Reading(values.reshape(*query.points.shape[:2], self.width))


class ToldReader(VolumeReader):
    """The conditioning grid of the batch.

    Args:
        request: the grid that the batch must have.
        width, stride: of the encoder.
        density_of_maximum: whether to divide each grid's density by its largest, as the paper's published code does.
        residual: world units per step of 1 in the grid's values, to convert it to the signed distance that the decoder
            corrects; None for no such distance.
        offset: see ``VolumeReader``.
    """

    def __init__(
        self,
        request: VoxelRequest,
        width: int,
        stride: int,
        density_of_maximum: bool,
        residual: float | None,
        offset: float = 0.0,
    ) -> None:
        super().__init__(request.num_channels, width, stride, offset)
        self.request = request
        self.density_of_maximum = density_of_maximum and request.num_channels == 4
        self.residual = residual

    def grid(self, view: View) -> Float[Tensor, "B C R R R"]:
        """
        Raises:
            DataError: the batch's grid is not the recipe's conditioning grid.
        """
        request, grid = self.request, view.batch["voxels"]
        expected = (request.num_channels, request.resolution, request.resolution, request.resolution)
        if tuple(grid.shape[1:]) != expected:
            raise DataError(
                f"the batch's voxels are {tuple(grid.shape[1:])}, the recipe conditions on {expected}",
                "set model.conditioning to the values that the data was prepared with",
            )
        if self.density_of_maximum:
            density = grid[:, :1]
            grid = torch.cat([density / density.amax((2, 3, 4), keepdim=True).clamp(min=1e-12), grid[:, 1:]], 1)
        return grid

    def read(self, state: State, query: Query) -> Reading:
        reading = super().read(state, query)
        if self.residual is None:
            return reading
        value = reading.features[..., 0]
        # Occupancy is thresholded at one half, and is positive inside.
        told = value if self.request.source == "gt_sdf" else 0.5 - value
        return Reading(reading.features, told=self.residual * told)


class GapGridReader(VolumeReader):
    """A grid of the depth's gaps (a truncated projective signed distance), and of its mirror image.

    Unlike voxels of visible points, it distinguishes empty space from hidden space.

    Args:
        resolution: cells along an edge.
        scales: scales of the gaps, world units.
        mirrored: whether to add the mirrored grid's channels.
        width, stride: of the encoder.
        offset: see ``VolumeReader``.
    """

    cells: Tensor

    def __init__(
        self, resolution: int, scales: Sequence[float], mirrored: bool, width: int, stride: int, offset: float = 0.0
    ) -> None:
        self.scales, self.mirrored, self.resolution = tuple(scales), mirrored, resolution
        channels = len(self.scales) + 1
        super().__init__(channels * (2 if mirrored else 1), width, stride, offset)
        self.register_buffer("cells", torch.from_numpy(grid_points(resolution)), persistent=False)

    def grid(self, view: View) -> Float[Tensor, "B C R R R"]:
        depth = view.depth
        with without_mixed_precision(depth):
            cells = self.cells.to(depth.dtype).expand(len(depth), -1, -1)
            channels = gap_channels(depth, Query(view.camera, cells), self.scales)
        grid = torch.stack(channels, 1).reshape(len(depth), -1, *(self.resolution,) * 3)
        # The cells are symmetric about x = 0, so the mirror image of the grid is the grid of the mirror image.
        return torch.cat([grid, grid.flip(2)], 1) if self.mirrored else grid
