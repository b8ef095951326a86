"""Wraps a sphere mesh around a level of a distance field, whatever its shape.

A class of chairs or tables is not star-shaped, so rays from a centre do not find its surface. The levels of a mean
signed distance do: far outside they are nearly spheres, and they shrink into the concave parts as the level falls. The
mesh follows them down, so that no vertex has to find its way alone, and is relaxed in the surface on the way.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT
from raylift.geometry.laplacian import Adjacency, adjacency, uniform_laplacian

NUM_STEPS = 240
RELAXATION = 0.5
"""Fraction of the way towards its neighbours' mean that a vertex moves within the surface, per step."""
SMOOTHING = 0.05
"""The same, along the normal: unfolds creases."""
LONGEST_STEP = 0.04
"""World units per step."""


def distances_at(grid: Float[Tensor, "R R R"], points: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    """A grid of signed distances, read trilinearly; beyond its border, the border's value plus the way there.

    Args:
        grid: cell-centred over [-0.55, 0.55]^3, indexed [x, y, z].
        points: points in the world frame.
    """
    limit = GRID_HALF_EXTENT * (1 - 1 / grid.shape[0])
    inner = points.clamp(-limit, limit)
    # grid_sample takes the last axis first.
    places = (inner / GRID_HALF_EXTENT).flip(-1)[None, :, None, None]
    read = functional.grid_sample(grid[None, None], places, padding_mode="border", align_corners=False)
    beyond = (points - inner).square().sum(dim=-1).clamp(min=1e-20).sqrt()
    return read.flatten() + beyond


def shrink_wrap(
    grid: Float[Tensor, "R R R"],
    level: float,
    sphere: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    num_steps: int = NUM_STEPS,
) -> Float[Tensor, "V 3"]:
    """Move a sphere's vertices onto ``grid == level``, from outside; without gradient, the same every time.

    Args:
        grid: signed distances, such as a mean of several shapes', negative inside.
        level: value of the surface, world units.
        sphere: unit vertices.
        faces: faces of the sphere.
    """
    mesh = adjacency(faces, len(sphere))
    values = grid.detach().double()
    outside = GRID_HALF_EXTENT
    with torch.enable_grad():
        vertices = sphere.double() * outside
        start = float(distances_at(values, vertices).max())
        for step in range(num_steps):
            # The last quarter of the steps stays at the level.
            share = min(1.0, (step + 1) / (0.75 * num_steps))
            goal = level + (start - level) * (1 - share) ** 2
            vertices = _moved(values, goal, vertices.detach(), mesh)
    return vertices.detach().to(sphere.dtype)


def _moved(values: Tensor, goal: float, vertices: Float[Tensor, "V 3"], mesh: Adjacency) -> Float[Tensor, "V 3"]:
    vertices.requires_grad_()
    found = distances_at(values, vertices)
    (slope,) = torch.autograd.grad(found.sum(), vertices)
    steepness = torch.linalg.vector_norm(slope, dim=-1, keepdim=True)
    normal = slope / steepness.clamp(min=1e-9)
    # A mean of distances is flatter than a distance: a full Newton step may leave, so the slope counts as 0.3 or more.
    way = ((found - goal)[:, None] / steepness.clamp(min=0.3)).clamp(-LONGEST_STEP, LONGEST_STEP)
    pull = -uniform_laplacian(vertices, mesh)
    along = (pull * normal).sum(dim=-1, keepdim=True) * normal
    return vertices - way * normal + RELAXATION * (pull - along) + SMOOTHING * along
