"""Depth at the projection of a point: how far the point is in front of, or behind, what is seen there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.families.implicit.readers.reader import Query, Reader, Reading, State, scaled
from raylift.families.implicit.view import View
from raylift.networks.point_sampling import sample_nearest

EMPTY = 1.0
"""The gap where nothing is seen: more than any object's, so it is clamped at every scale."""


def gap_features(
    depth: Float[Tensor, "B 1 H W"], query: Query, scales: Sequence[float]
) -> Float[Tensor, "B N {len(scales)+1}"]:
    """The projective signed gap depth(u) - z(p) at scales, and 1 where nothing is seen.

    Positive in front of what is seen, which is certainly outside of the object; negative behind it, where the object
    may be.
    """
    seen = sample_nearest(depth, query.uv)[..., 0]
    empty = seen <= 0
    gap = torch.where(empty, torch.full_like(seen, EMPTY), seen - query.depth)
    return torch.cat([scaled(gap, scales), empty[..., None].to(gap.dtype)], -1)


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
        return Reading(gap_features(state[0], query, self.scales))


class PlaneReader(Reader):
    """The distance to the plane of what is seen at the projection: n . (p - x), x and n of the pixel.

    Unlike the gap it does not grow where the ray grazes the surface, and it is exact anywhere in a pixel of a plane.

    Args:
        scales: world units.
    """

    def __init__(self, scales: Sequence[float]) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.width = len(self.scales)

    def encode(self, view: View) -> State:
        return (torch.cat([view.positions, view.normals], 1),)

    def read(self, state: State, query: Query) -> Reading:
        position, normal = sample_nearest(state[0], query.uv).split(3, -1)
        distance = ((query.points - position) * normal).sum(-1)
        known = (normal != 0).any(-1)
        return Reading(scaled(torch.where(known, distance, torch.full_like(distance, EMPTY)), self.scales))
