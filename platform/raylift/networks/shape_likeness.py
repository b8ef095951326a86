"""Distances of a bank's shapes from an input view: by their silhouettes, or by the depth of the surface.

A shape is represented by points on its surface and a grid of signed distances, and may be stretched along its axes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT, Camera
from raylift.geometry.cameras import project
from raylift.geometry.depth_maps import depth_at, pixel_at, positions_at

COMPARED_PX = 32
COVERED = 0.2
"""Coverage from which a compared pixel is in the input's silhouette: thin parts count."""
NUM_VISIBLE = 192
"""Number of visible points to compare shapes at, spread evenly over the pixels with depth."""
FURTHEST = 0.1
"""Limit of distances, world units: a missing part counts the same however far its nearest neighbour is."""
_LEVELS = (1, 2, 4, 8)
_NOTHING = 1e3


@dataclass(frozen=True)
class Shapes:
    """Shapes of a bank.

    Attributes:
        points: points on the surface, world frame.
        sdf: signed distances in world units, cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
    """

    points: Float[Tensor, "K P 3"]
    sdf: Float[Tensor, "K R R R"]

    def __getitem__(self, which: Tensor) -> Shapes:
        return Shapes(self.points[which], self.sdf[which])


class Likeness(ABC):
    """Target view of one image, to compare shapes with."""

    @abstractmethod
    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Distances of every shape in each of its stretches; 0 is a perfect match."""


class SilhouetteLikeness(Likeness):
    """An input's silhouette at increasing blur.

    Args:
        coverage: coverage of the input.
        camera: camera of the input, B = 1.
    """

    def __init__(self, coverage: Float[Tensor, "1 H W"], camera: Camera) -> None:
        self.camera = camera
        mask = (functional.adaptive_avg_pool2d(coverage[None], COMPARED_PX) > COVERED).to(coverage.dtype)
        self.levels = _levels(mask)
        self.area = mask.mean().clamp(min=1e-3)

    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Mean squared difference between the points' silhouettes and this one, divided by this one's area."""
        points = (shapes.points[:, None] * stretches[:, :, None]).flatten(0, 1)
        uv, _ = project(self.camera, points.reshape(1, -1, 3))
        cells = ((uv[0] + 1) * (COMPARED_PX / 2)).floor().long().clamp(0, COMPARED_PX - 1)
        flat = (cells[:, 1] * COMPARED_PX + cells[:, 0]).reshape(len(points), -1)
        drawn = points.new_zeros(len(points), COMPARED_PX**2).scatter_(1, flat, 1.0)
        levels = _levels(drawn.reshape(-1, 1, COMPARED_PX, COMPARED_PX))
        squares = [(own - other).square().mean((1, 2, 3)) for own, other in zip(self.levels, levels, strict=True)]
        return (sum(squares) / self.area).reshape(stretches.shape[:2])


class DepthLikeness(Likeness):
    """The visible surface of a depth map: its points must be on a shape, and the shape must not be in free space.

    Args:
        depth: z in world units, 0 where nothing is seen.
        camera: camera of the input, B = 1.
    """

    def __init__(self, depth: Float[Tensor, "1 H W"], camera: Camera) -> None:
        self.camera = camera
        # Edges are accurate to a pixel, so a point is in free space only if it is so for all surrounding pixels.
        known = torch.where(depth > 0, depth, _NOTHING)[None]
        self.front = -functional.max_pool2d(-known, 3, 1, 1)
        pixels = (depth > 0).flatten().nonzero()[:, 0]
        picked = torch.arange(NUM_VISIBLE, device=depth.device) * len(pixels) // NUM_VISIBLE
        self.visible = positions_at(depth[None], camera, pixels[None, picked])[0]

    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Mean distance of visible points to the shape, and of its points in free space to the surface: over 0.1."""
        count, tried = stretches.shape[:2]
        # The distance in the shape's own frame; off the surface, a stretch changes it slightly.
        places = (self.visible / stretches[:, :, None]).reshape(count, 1, 1, -1, 3).flip(-1) / GRID_HALF_EXTENT
        away = functional.grid_sample(shapes.sdf[:, None], places, padding_mode="border", align_corners=False)
        missing = away.abs().clamp(max=FURTHEST).reshape(count, tried, -1).mean(-1)
        points = (shapes.points[:, None] * stretches[:, :, None]).reshape(1, -1, 3)
        uv, z = project(self.camera, points)
        gap = (depth_at(self.front, pixel_at(uv, *self.front.shape[-2:])) - z).clamp(0, FURTHEST)
        return (missing + gap.reshape(count, tried, -1).mean(-1)) / FURTHEST


def _levels(picture: Tensor) -> list[Tensor]:
    return [functional.avg_pool2d(picture, level) for level in _LEVELS]
