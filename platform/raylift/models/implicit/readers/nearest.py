"""The nearest visible point in space, wherever it projects: its distance, the side of its plane, and its colour."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from raylift.geometry.depth_maps import DepthSurface
from raylift.models.implicit.readers.reader import Query, Reader, Reading, State, scaled
from raylift.models.implicit.view import ColoredCloud, View, VisibleCloud


class NearestReader(Reader):
    """Distance to the nearest visible point, the signed distance to its plane, and its colour as an option.

    Args:
        distance_scales, plane_scales: clamping scales, world units; planes are omitted without plane scales.
    """

    colors = ("nearest",)

    def __init__(self, distance_scales: Sequence[float], plane_scales: Sequence[float]) -> None:
        super().__init__()
        self.distance_scales, self.plane_scales = tuple(distance_scales), tuple(plane_scales)
        self.width = len(self.distance_scales) + len(self.plane_scales) + 3

    def encode(self, view: View) -> State:
        return view.clouds, view.surface

    def read(self, state: State, query: Query) -> Reading:
        clouds: tuple[VisibleCloud, ...] = state[0]
        surface: DepthSurface = state[1]
        found = [cloud.index.nearest(points) for cloud, points in zip(clouds, query.points, strict=True)]
        color = torch.stack([cloud.colors[which] for cloud, which in zip(clouds, found, strict=True)])
        pixels = torch.stack([cloud.pixels[which] for cloud, which in zip(clouds, found, strict=True)])
        position, normal = surface.at(pixels)
        away = query.points - position
        features = [*scaled(away.square().sum(-1).sqrt(), self.distance_scales)]
        features += scaled((away * normal).sum(-1), self.plane_scales)
        return Reading(torch.cat([torch.stack(features, -1), 2 * color - 1], -1), (color,))


class MeanColorReader(Reader):
    """The mean colour of the visible or given points: no features, only a colour for hidden parts.

    Args:
        told: whether to average given points instead of visible ones.
    """

    width = 0
    colors = ("mean",)

    def __init__(self, told: bool = False) -> None:
        super().__init__()
        self.told = told

    def encode(self, view: View) -> State:
        clouds: tuple[ColoredCloud, ...] = view.told if self.told else view.clouds
        return (torch.stack([cloud.colors.mean(0) for cloud in clouds]),)

    def read(self, state: State, query: Query) -> Reading:
        count = query.points.shape[1]
        color = state[0][:, None].expand(-1, count, -1)
        return Reading(color[..., :0], (color,))
