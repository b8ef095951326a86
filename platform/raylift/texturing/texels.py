"""Which point of a mesh every texel of its texture shows: rasterisation in texture coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from raylift.texturing.unwrap import check_texture_px

REACH = 1.5
"""Texels around a chart that bilinear sampling inside of it may read; they show the chart's nearest point."""


@dataclass(frozen=True)
class Texels:
    """The N texels of a square texture that show a point of the mesh, or that are sampled together with one that does.

    Attributes:
        size: side of the texture.
        index: row * size + column of each texel, row 0 on top.
        face: the face that each shows.
        weights: barycentric weights of that face's corners.
        is_inside: whether the texel's centre is on the face; otherwise it is within ``REACH`` of it.
    """

    size: int
    index: Int[Tensor, "N"]
    face: Int[Tensor, "N"]
    weights: Float[Tensor, "N 3"]
    is_inside: Float[Tensor, "N"]

    def interpolate(self, corners: Float[Tensor, "F 3 C"]) -> Float[Tensor, "N C"]:
        """Values at the texels, from values at the corners of faces, such as ``vertices[faces]``."""
        return (self.weights[..., None] * corners[self.face]).sum(1)

    def paint(self, colors: Float[Tensor, "N 3"]) -> Float[Tensor, "H W 3"]:
        """The texture with these colours; every other texel has the colour of the nearest of them."""
        texture = torch.zeros(self.size * self.size, 3)
        texture[self.index] = colors.detach().cpu().float().clamp(0, 1)
        texture = texture.reshape(self.size, self.size, 3)
        known = torch.zeros(self.size * self.size, dtype=torch.bool)
        known[self.index] = True
        if bool(known.all()) or not len(self.index):
            return texture
        empty = ~known.reshape(self.size, self.size).numpy()
        rows, columns = distance_transform_edt(empty, return_distances=False, return_indices=True)
        return texture[torch.from_numpy(rows), torch.from_numpy(columns)]


def find_texels(corner_uvs: Float[Tensor, "F 3 2"], texture_px: int) -> Texels:
    """The texels of a mesh's charts.

    Args:
        corner_uvs: charts that do not overlap, within [0, 1]; (0, 0) is the texture's bottom-left.
        texture_px: side of the texture.

    Raises:
        DataError: an impossible size.
    """
    check_texture_px(texture_px)
    uvs = corner_uvs.detach().cpu().numpy().astype(np.float64)
    places = np.stack([uvs[..., 0], 1 - uvs[..., 1]], -1) * texture_px - 0.5
    faces, weights, distances = _rasterize(places, texture_px, REACH)
    index = np.flatnonzero(faces.ravel() >= 0)
    return Texels(
        texture_px,
        torch.from_numpy(index),
        torch.from_numpy(faces.ravel()[index]),
        torch.from_numpy(weights.reshape(-1, 3)[index].astype(np.float32)),
        torch.from_numpy((distances.ravel()[index] == 0).astype(np.float32)),
    )


@njit(cache=True, fastmath=False, nogil=True)
def _foot(px: float, py: float, ax: float, ay: float, bx: float, by: float) -> tuple[float, float]:
    """Where along ab the point nearest to p is, in [0, 1], and its squared distance."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    along = 0.0 if length <= 0.0 else min(max((dx * (px - ax) + dy * (py - ay)) / length, 0.0), 1.0)
    x, y = px - ax - along * dx, py - ay - along * dy
    return along, x * x + y * y


@njit(cache=True, fastmath=False, nogil=True)
def _rasterize(places: np.ndarray, size: int, reach: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest face of each texel within ``reach``, its weights, and the squared distance in texels.

    Args:
        places: float64 [F, 3, 2], (column, row); whole numbers are centres of texels.
    """
    faces = np.full((size, size), -1, np.int64)
    weights = np.zeros((size, size, 3))
    distances = np.full((size, size), np.inf)
    found = np.zeros(3)
    for f in range(places.shape[0]):
        x0, y0, x1, y1 = places[f, 0, 0], places[f, 0, 1], places[f, 1, 0], places[f, 1, 1]
        x2, y2 = places[f, 2, 0], places[f, 2, 1]
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        first_row, end_row = max(int(np.ceil(min(y0, y1, y2) - reach)), 0), min(int(max(y0, y1, y2) + reach) + 1, size)
        first, end = max(int(np.ceil(min(x0, x1, x2) - reach)), 0), min(int(max(x0, x1, x2) + reach) + 1, size)
        for row in range(first_row, end_row):
            for column in range(first, end):
                squared = np.inf
                if abs(area) > 1e-12:
                    found[0] = ((x1 - column) * (y2 - row) - (y1 - row) * (x2 - column)) / area
                    found[1] = ((x2 - column) * (y0 - row) - (y2 - row) * (x0 - column)) / area
                    found[2] = 1.0 - found[0] - found[1]
                    if found.min() >= -1e-9:
                        squared = 0.0
                if squared > 0.0:
                    for side in range(3):
                        a, b = side, (side + 1) % 3
                        along, away = _foot(
                            column, row, places[f, a, 0], places[f, a, 1], places[f, b, 0], places[f, b, 1]
                        )
                        if away < squared:
                            squared = away
                            found[:] = 0.0
                            found[a], found[b] = 1.0 - along, along
                if squared <= reach * reach and squared < distances[row, column]:
                    distances[row, column] = squared
                    faces[row, column] = f
                    weights[row, column] = found
    return faces, weights, distances
