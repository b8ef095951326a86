"""What readers may read of a batch: its pictures, and what depth says of the surface that they show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Batch, Camera
from raylift.geometry.depth_maps import normals_of, positions_of
from raylift.geometry.nearest_points import PointIndex


@dataclass(frozen=True)
class ColoredCloud:
    """Points that a reader knows of one sample's surface.

    Attributes:
        index: the points, world frame [M, 3], ready to be searched.
        colors: RGB in [0, 1], [M, 3].
        normals: unit, or 0 where unknown, [M, 3].
    """

    index: PointIndex
    colors: Tensor
    normals: Tensor


class View:
    """A batch as readers encode it. What several readers need is computed once, when the first one asks.

    Args:
        batch: with its camera.

    Raises:
        DataError: the batch has no camera.
    """

    def __init__(self, batch: Batch) -> None:
        if batch.camera is None:
            raise DataError(
                "the implicit family projects points into the image, but this batch has no camera",
                "prepare the data set with cameras, or give each image a camera in its sidecar file",
            )
        self.batch = batch
        self.camera: Camera = batch.camera

    @cached_property
    def image(self) -> Float[Tensor, "B 3 H W"]:
        """RGB on white."""
        return self.batch["image"]

    @cached_property
    def coverage(self) -> Float[Tensor, "B 1 H W"]:
        return self.batch["mask"]

    @cached_property
    def colors(self) -> Float[Tensor, "B 3 H W"]:
        """RGB of the object alone, where it covers a pixel at all."""
        return ((self.image - 1 + self.coverage) / self.coverage.clamp(min=1 / 512)).clamp(0, 1)

    @cached_property
    def depth(self) -> Float[Tensor, "B 1 H W"]:
        """z in world units; 0 where nothing is seen."""
        return self.batch["depth"]

    @cached_property
    def positions(self) -> Float[Tensor, "B 3 H W"]:
        """Of the surface, in the world."""
        return positions_of(self.depth, self.camera)

    @cached_property
    def normals(self) -> Float[Tensor, "B 3 H W"]:
        """Of the surface, towards the camera; 0 where unknown."""
        return normals_of(self.positions, self.depth, self.camera)

    @cached_property
    def clouds(self) -> tuple[ColoredCloud, ...]:
        """The visible points of each sample: every pixel with a depth and some coverage.

        Raises:
            DataError: a sample has none.
        """
        seen = (self.depth > 0) & (self.coverage > 0)
        clouds = []
        for index, name in enumerate(self.batch.ids):
            which = seen[index, 0]
            if not bool(which.any()):
                raise DataError(f"{name} has no visible point", "its depth or its silhouette is empty")
            points, colors, normals = (
                maps[index][:, which].mT.contiguous() for maps in (self.positions, self.colors, self.normals)
            )
            clouds.append(ColoredCloud(PointIndex(points), colors, normals))
        return tuple(clouds)


def mirrored_points(points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """(-x, y, z): objects stand in a canonical frame, whose plane x = 0 is most objects' plane of symmetry."""
    return points * points.new_tensor([-1.0, 1.0, 1.0])


def without_mixed_precision(like: Tensor) -> torch.autocast:
    """Coordinates keep full precision under mixed precision: bfloat16 would round a point to 1/256 of the object."""
    return torch.autocast(like.device.type, enabled=False)
