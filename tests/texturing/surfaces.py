"""Meshes and colours that the texturing tests share."""

from __future__ import annotations

import torch
from torch import Tensor

from raylift.core.types import Camera, Mesh
from raylift.geometry.cameras import orbit
from raylift.geometry.icosphere import icosphere


def ellipsoid(level: int = 3, axes: tuple[float, float, float] = (0.5, 0.35, 0.3)) -> Mesh:
    vertices, faces = icosphere(level)
    return Mesh(torch.from_numpy(vertices).float() * torch.tensor(axes), torch.from_numpy(faces))


def cube(splits: int = 4, half: float = 0.3) -> Mesh:
    """A cube with ``splits`` squares along each edge, its sides joined at the edges; counter-clockwise."""
    places: dict[tuple[int, ...], int] = {}
    faces = []
    for axis in range(3):
        for end in (0, splits):
            for i in range(splits):
                for j in range(splits):
                    corners = []
                    for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
                        at = [0, 0, 0]
                        at[axis], at[(axis + 1) % 3], at[(axis + 2) % 3] = end, i + a, j + b
                        corners.append(places.setdefault(tuple(at), len(places)))
                    a, b, c, d = corners if end else corners[::-1]
                    faces += [[a, b, c], [a, c, d]]
    vertices = (torch.tensor(list(places)).float() / splits - 0.5) * (2 * half)
    return Mesh(vertices, torch.tensor(faces))


def smooth_color(points: Tensor) -> Tensor:
    return 0.5 + points * torch.tensor([0.6, 0.9, 1.1])


def six_sides() -> Camera:
    around = [orbit(float(azimuth), 0.0) for azimuth in (0, 90, 180, 270)]
    return Camera.stack([*around, orbit(0.0, 89.0), orbit(0.0, -89.0)])
