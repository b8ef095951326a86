"""A grid of distances to given surface points, for the voxel encoder, instead of the number of points per cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.distance_grids import NUM_SIDES, distance_grid, nearest_on_the_way_out
from raylift.models.implicit.readers.volumes import VolumeReader
from raylift.models.implicit.view import View, without_mixed_precision


class DistanceGridReader(VolumeReader):
    """Distances at several scales, how closed each side of a cell is, and both for the mirror image.

    Point counts say nothing about the cells between points; distances from a few thousand points make a dense field.
    How closed a side is: the least distance on the way from the cell to the border along an axis; inside of a closed
    surface it is small on all six sides, which convolutions would need many layers to compute.

    Args:
        resolution: cells along an edge.
        scales: clamping scales, world units; distances are exact up to the largest.
        sides: whether to add how closed each side of a cell is.
        mirrored: whether to add the mirrored grid's channels.
        width, stride: width and stride of the encoder.
        offset: see ``VolumeReader``.
    """

    def __init__(
        self,
        resolution: int,
        scales: Sequence[float],
        sides: bool,
        mirrored: bool,
        width: int,
        stride: int,
        offset: float = 0.0,
    ) -> None:
        self.resolution, self.scales, self.sides, self.mirrored = resolution, tuple(scales), sides, mirrored
        channels = len(self.scales) + (NUM_SIDES if sides else 0)
        super().__init__(channels * (2 if mirrored else 1), width, stride, offset)

    def grid(self, view: View) -> Float[Tensor, "B C R R R"]:
        reach = max(self.scales)
        with without_mixed_precision(view.batch["told_points"]):
            points = view.batch["told_points"]
            distance = torch.stack([distance_grid(own, self.resolution, reach) for own in points])
            channels = [(distance / scale).clamp(max=1.0)[:, None] for scale in self.scales]
            if self.sides:
                channels.append(nearest_on_the_way_out(channels[0][:, 0]))
        grid = torch.cat(channels, 1)
        if not self.mirrored:
            return grid
        # The cells are symmetric about x = 0, so the mirror image of the grid is the grid of the mirror image, once its
        # sides -x and +x are swapped.
        order = list(range(grid.shape[1]))
        if self.sides:
            first = len(self.scales)
            order[first], order[first + 1] = first + 1, first
        return torch.cat([grid, grid[:, order].flip(2)], 1)
