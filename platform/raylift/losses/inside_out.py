"""Whether a mesh faces outwards, judged by the true shape's signed distance on both of its sides."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.surface_points import drawn_points

SHARPNESS = 10.0


def insideout_share(
    vertices: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    distances: Float[Tensor, "B R R R"],
    uniforms: Float[Tensor, "B N 3"],
) -> Float[Tensor, "B"]:
    """How much of each mesh is inside out: 0 none, 1 all of it.

    A Chamfer distance does not see that the two sides of a thin part have passed through each other. Here a point p of
    the mesh with unit normal n is compared at one cell's distance d on both sides, ``s = (f(p + d n) - f(p - d n)) /
    (2 d)``, f the true signed distance: 1 where the mesh is a flat part of the surface, positive on either side of a
    thin plate, and -1 where it is turned. The result is the mean of ``softplus(-s)``, which is nearly relu(-s).

    Args:
        vertices: positions, world frame.
        faces: counter-clockwise seen from outside.
        distances: signed, negative inside, cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
        uniforms: draws in [0, 1) for points on the mesh.
    """
    points, normals = drawn_points(vertices, faces, uniforms)
    reach = 2 * GRID_HALF_EXTENT / distances.shape[-1]
    outer, inner = (_read(distances, points + side * reach * normals) for side in (1, -1))
    return functional.softplus((inner - outer) / (2 * reach), beta=SHARPNESS).mean(dim=1)


def _read(grids: Float[Tensor, "B R R R"], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
    # grid_sample takes the last axis first.
    places = (points / GRID_HALF_EXTENT).flip(-1)[:, :, None, None]
    read = functional.grid_sample(grids[:, None].to(points), places, padding_mode="border", align_corners=False)
    return torch.flatten(read, 1)
