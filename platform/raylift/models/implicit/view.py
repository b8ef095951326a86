"""The inputs of readers: a batch's images, and the visible surface from their depth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.core.errors import DataError
from raylift.core.types import Batch, Camera
from raylift.geometry.depth_maps import DepthSurface, positions_at
from raylift.geometry.nearest_points import PointIndex


@dataclass(frozen=True)
class ColoredCloud:
    """Points of one sample's surface.

    Attributes:
        index: search index of the points, world frame [M, 3].
        colors: the points' RGB in [0, 1], [M, 3].
    """

    index: PointIndex
    colors: Tensor


@dataclass(frozen=True)
class VisibleCloud(ColoredCloud):
    """Visible points of a view.

    Attributes:
        pixels: flat indices of the points' pixels, [M].
    """

    pixels: Tensor


class View:
    """A batch as readers encode it. Shared quantities are computed once, on first use.

    Args:
        batch: batch with a camera.

    Raises:
        DataError: the batch has no camera.
    """

    def __init__(self, batch: Batch) -> None:
        if batch.camera is None:
            raise DataError(
                "the implicit model projects points into the image, but this batch has no camera",
                "prepare the data set with cameras, or add a camera in each image's sidecar file",
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
    def depth(self) -> Float[Tensor, "B 1 H W"]:
        """z in world units; 0 where nothing is seen."""
        return self.batch["depth"]

    @cached_property
    def surface(self) -> DepthSurface:
        """Positions and normals of the visible surface."""
        return DepthSurface(self.depth, self.camera)

    @cached_property
    def told(self) -> tuple[ColoredCloud, ...]:
        """The given surface points of each sample."""
        points, colors = self.batch["told_points"], self.batch["told_colors"]
        return tuple(ColoredCloud(PointIndex(own), color) for own, color in zip(points, colors, strict=True))

    @cached_property
    def clouds(self) -> tuple[VisibleCloud, ...]:
        """The visible points of each sample: every pixel with a depth and some coverage.

        Raises:
            DataError: a sample without visible points.
        """
        seen = ((self.depth > 0) & (self.coverage > 0)).flatten(1)
        image, coverage = self.image.flatten(2), self.coverage.flatten(2)
        clouds = []
        for index, name in enumerate(self.batch.ids):
            pixels = seen[index].nonzero()[:, 0]
            if not len(pixels):
                raise DataError(f"{name} has no visible point", "check its depth and its silhouette: one is empty")
            points = positions_at(self.depth[index : index + 1], self.camera[index], pixels[None])[0]
            colors = without_white(image[index, :, pixels].mT, coverage[index, 0, pixels, None])
            clouds.append(VisibleCloud(PointIndex(points), colors, pixels))
        return tuple(clouds)


def without_white(color: Float[Tensor, "*N 3"], coverage: Float[Tensor, "*N 1"]) -> Float[Tensor, "*N 3"]:
    """Undo compositing on white to get the object's own colour; white where less than 1/256 is covered."""
    covered = coverage.clamp(min=1 / 512)
    return torch.where(coverage > 1 / 256, (color - 1 + covered) / covered, color).clamp(0, 1)


def mirrored_points(points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """(-x, y, z): objects are in a canonical frame, whose plane x = 0 is most objects' plane of symmetry."""
    return points * constant([-1.0, 1.0, 1.0], points)


def without_mixed_precision(like: Tensor) -> torch.autocast:
    """Disable mixed precision for coordinates: bfloat16 would round a point to 1/256 of the object."""
    return torch.autocast(like.device.type, enabled=False)
