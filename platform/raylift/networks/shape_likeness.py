"""How unlike what a camera sees the shapes of a bank are: by their silhouettes, or by the depth of the surface.

A shape is known by points on its surface and a grid of signed distances, and may be stretched along its axes.
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
"""A compared pixel belongs to the input's silhouette from this coverage on: thin parts count."""
NUM_VISIBLE = 192
"""Visible points that shapes are compared at, spread evenly over the pixels that show some."""
FURTHEST = 0.1
"""Distances count up to here, world units: a shape that lacks a part is not judged by how far away its nearest is."""
_LEVELS = (1, 2, 4, 8)
_NOTHING = 1e3


@dataclass(frozen=True)
class Shapes:
    """Shapes of a bank.

    Attributes:
        points: on the surface, world frame.
        sdf: signed distances in world units, cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
    """

    points: Float[Tensor, "K P 3"]
    sdf: Float[Tensor, "K R R R"]

    def __getitem__(self, which: Tensor) -> Shapes:
        return Shapes(self.points[which], self.sdf[which])


class Likeness(ABC):
    """What one picture shows, to compare shapes with."""

    @abstractmethod
    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Of every shape in each of its stretches: 0 is as alike as can be."""


class SilhouetteLikeness(Likeness):
    """An input's silhouette, blurred more and more.

    Args:
        coverage: of the input.
        camera: B = 1.
    """

    def __init__(self, coverage: Float[Tensor, "1 H W"], camera: Camera) -> None:
        self.camera = camera
        mask = (functional.adaptive_avg_pool2d(coverage[None], COMPARED_PX) > COVERED).to(coverage.dtype)
        self.levels = _levels(mask)
        self.area = mask.mean().clamp(min=1e-3)

    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Mean squares between the silhouettes that the points fill and this one, over this one's area."""
        points = (shapes.points[:, None] * stretches[:, :, None]).flatten(0, 1)
        uv, _ = project(self.camera, points.reshape(1, -1, 3))
        cells = ((uv[0] + 1) * (COMPARED_PX / 2)).floor().long().clamp(0, COMPARED_PX - 1)
        flat = (cells[:, 1] * COMPARED_PX + cells[:, 0]).reshape(len(points), -1)
        drawn = points.new_zeros(len(points), COMPARED_PX**2).scatter_(1, flat, 1.0)
        levels = _levels(drawn.reshape(-1, 1, COMPARED_PX, COMPARED_PX))
        squares = [(own - other).square().mean((1, 2, 3)) for own, other in zip(self.levels, levels, strict=True)]
        return (sum(squares) / self.area).reshape(stretches.shape[:2])


class DepthLikeness(Likeness):
    """The surface that a depth map shows: visible points must lie on a shape, and the shape must not lie in free space.

    Args:
        depth: z in world units, 0 where nothing is seen.
        camera: B = 1.
    """

    def __init__(self, depth: Float[Tensor, "1 H W"], camera: Camera) -> None:
        self.camera = camera
        # Edges are good to a pixel, so a point is in free space only where it is in that of all pixels around.
        known = torch.where(depth > 0, depth, _NOTHING)[None]
        self.front = -functional.max_pool2d(-known, 3, 1, 1)
        pixels = (depth > 0).flatten().nonzero()[:, 0]
        picked = torch.arange(NUM_VISIBLE, device=depth.device) * len(pixels) // NUM_VISIBLE
        self.visible = positions_at(depth[None], camera, pixels[None, picked])[0]

    def distances(self, shapes: Shapes, stretches: Float[Tensor, "K T 3"]) -> Float[Tensor, "K T"]:
        """Mean distance of visible points to the shape, and of its points to where they would not be seen: over 0.1."""
        count, tried = stretches.shape[:2]
        # The distance in the shape's own frame; off the surface a stretch changes it a little.
        places = (self.visible / stretches[:, :, None]).reshape(count, 1, 1, -1, 3).flip(-1) / GRID_HALF_EXTENT
        away = functional.grid_sample(shapes.sdf[:, None], places, padding_mode="border", align_corners=False)
        missing = away.abs().clamp(max=FURTHEST).reshape(count, tried, -1).mean(-1)
        points = (shapes.points[:, None] * stretches[:, :, None]).reshape(1, -1, 3)
        uv, z = project(self.camera, points)
        gap = (depth_at(self.front, pixel_at(uv, *self.front.shape[-2:])) - z).clamp(0, FURTHEST)
        return (missing + gap.reshape(count, tried, -1).mean(-1)) / FURTHEST


def _levels(picture: Tensor) -> list[Tensor]:
    return [functional.avg_pool2d(picture, level) for level in _LEVELS]
