"""Depth at the projection of a point: how far the point is in front of or behind the surface seen there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.depth_maps import DepthSurface, depth_at
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State, scaled
from raylift.models.implicit.view import View

EMPTY = 1.0
"""Gap where nothing is seen: larger than any object's, so it is clamped at every scale."""


def gap_channels(depth: Float[Tensor, "B 1 H W"], query: Query, scales: Sequence[float]) -> list[Tensor]:
    """The projective signed gap depth(u) - z(p) at scales, and 1 where nothing is seen: [B, N] each.

    Positive in front of the visible surface, certainly outside of the object; negative behind it, where the object may
    be.
    """
    seen = depth_at(depth, query.pixels(depth))
    empty = seen <= 0
    gap = torch.where(empty, EMPTY, seen - query.depth)
    return [*scaled(gap, scales), empty.to(gap.dtype)]


class GapReader(Reader):
    """The gap along the ray.

    Args:
        scales: world units.
    """

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.width = len(self.scales) + 1

    def encode(self, view: View) -> State:
        return (view.depth,)

    def read(self, state: State, query: Query) -> Reading:
        return Reading(torch.stack(gap_channels(state[0], query, self.scales), -1))


class PlaneReader(Reader):
    """The distance to the plane of the surface seen at the projection: n . (p - x), with x and n of the pixel.

    Unlike the gap it does not grow where the ray grazes the surface, and it is exact anywhere in a pixel that shows a
    plane.

    Args:
        scales: world units.
    """

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.width = len(self.scales)

    def encode(self, view: View) -> State:
        return view.depth, view.surface

    def read(self, state: State, query: Query) -> Reading:
        depth: Tensor = state[0]
        surface: DepthSurface = state[1]
        position, normal = surface.at(query.pixels(depth))
        distance = ((query.points - position) * normal).sum(-1)
        known = (normal != 0).any(-1)
        return Reading(torch.stack(scaled(torch.where(known, distance, EMPTY), self.scales), -1))
