"""Given surface points near a point in space: distance, direction, plane and colour.

Given points have no normals, so nothing here has a sign: the decoder must infer the side of the surface from the
point's position, from the direction to the surface and from the volumes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.geometry.local_planes import fitted_planes
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State, scaled
from raylift.models.implicit.view import ColoredCloud, View


class ToldPointsReader(Reader):
    """Distances to the nearest given points, the plane through them, and the nearest one's colour as an option.

    Args:
        distance_scales, plane_scales: clamping scales, world units; the plane is omitted without plane scales.
        neighbors: number of nearest points to read; the plane is fitted to them.
        direction: whether to read the unit vector from the nearest point, and a plane's normal on the point's side.
            Their x is positive away from the plane x = 0, so that both halves of a symmetric object read the same.
    """

    colors = ("nearest",)

    def __init__(
        self, distance_scales: Sequence[float], plane_scales: Sequence[float], neighbors: int, direction: bool
    ) -> None:
        super().__init__()
        self.distance_scales, self.plane_scales = tuple(distance_scales), tuple(plane_scales)
        self.neighbors, self.direction = neighbors, direction
        self.width = len(self.distance_scales) * (2 if neighbors > 1 else 1) + len(self.plane_scales) + 3
        if direction:
            self.width += 6 if self.plane_scales else 3

    def encode(self, view: View) -> State:
        return (view.told,)

    def read(self, state: State, query: Query) -> Reading:
        clouds: tuple[ColoredCloud, ...] = state[0]
        found = [
            cloud.index.several_nearest(points, self.neighbors)
            for cloud, points in zip(clouds, query.points, strict=True)
        ]
        near = torch.stack([cloud.index.points[which] for cloud, which in zip(clouds, found, strict=True)])
        color = torch.stack([cloud.colors[which[:, 0]] for cloud, which in zip(clouds, found, strict=True)])
        away = query.points - near[:, :, 0]
        distance = length(away)
        features = scaled(distance, self.distance_scales)
        if self.neighbors > 1:
            # On a sampled sheet this is at least about the point spacing, so it shows where points are sparse.
            features += scaled(length(query.points - near[:, :, -1]), self.distance_scales)
        directions = [unit(away)]
        if self.plane_scales:
            center, normal = fitted_planes(near)
            signed = ((query.points - center) * normal).sum(-1)
            known = (normal != 0).any(-1)
            features += scaled(torch.where(known, signed.abs(), distance), self.plane_scales)
            directions.append(normal * torch.where(signed < 0, -1.0, 1.0)[..., None])
        values = [torch.stack(features, -1), 2 * color - 1]
        if self.direction:
            outward = torch.ones_like(query.points)
            outward[..., 0] = torch.where(query.points[..., 0] < 0, -1.0, 1.0)
            values += [outward * direction for direction in directions]
        return Reading(torch.cat(values, -1), (color,))


def length(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    return vectors.square().sum(-1).sqrt()


def unit(vectors: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
    """Normalise to length 1; 0 stays 0."""
    return vectors / length(vectors).clamp(min=1e-12)[..., None]
