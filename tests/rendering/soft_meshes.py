"""Meshes on the screen that soft rasterisers are compared on: a sphere, random triangles, and everything degenerate."""

from __future__ import annotations

import torch
import trimesh
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import fibonacci_directions, orbit, orthographic_views
from raylift.rendering.screen import project_to_screen

MESHES = ("sphere", "soup", "slivers", "degenerate", "behind", "border", "coincident", "beyond")


def icosphere(subdivisions: int = 3) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=0.5)
    return torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces)


def sphere_views(perspective: bool = True, subdivisions: int = 2) -> tuple[Tensor, Tensor]:
    """Two views of a sphere from directions in which nothing lines up."""
    vertices, faces = icosphere(subdivisions)
    cameras = Camera.stack([orbit(20, 30), orbit(-130, -11)])
    if not perspective:
        cameras = orthographic_views(fibonacci_directions(5)[1:3], 0.6)
    return project_to_screen(vertices[None], cameras), faces


def screen_mesh(name: str, seed: int = 0) -> tuple[Tensor, Tensor]:
    """(u, v, z) [1, V, 3] and faces of one of ``MESHES``."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    if name == "sphere":
        screen, faces = sphere_views()
        return screen[:1], faces
    count = 30
    faces = torch.arange(3 * count).reshape(-1, 3)
    centers = torch.cat([1.6 * uniform(count, 1, 2) - 0.8, 1.5 + uniform(count, 1, 1)], -1)
    corners = centers + (uniform(count, 3, 3) - 0.5) * torch.tensor([0.8, 0.8, 0.6])
    if name == "slivers":
        # The third corner almost on the line of the others, down to areas that are left out.
        share = uniform(count, 1)
        width = 10 ** (-0.3 - 7 * uniform(count, 1))
        corners[:, 2] = share * corners[:, 0] + (1 - share) * corners[:, 1] + width * (uniform(count, 3) - 0.5)
    elif name == "degenerate":
        corners[:10, 1] = corners[:10, 0]
        corners[10:16] = corners[10:16, :1]
        corners[16:20, 2] = 2 * corners[16:20, 1] - corners[16:20, 0]
        corners[20:24, 1] = corners[20:24, 0] + 5e-5  # an edge that counts as a point, in a face that counts
    elif name == "behind":
        corners[..., 2] -= 1.7
    elif name == "border":
        corners[..., :2] = 3 * corners[..., :2]
    elif name == "coincident":
        # Each face three times, once the other way round and once from another corner: depths tie.
        corners = torch.cat([corners[:10], corners[:10].flip(1), corners[:10].roll(1, 1)])
    elif name == "beyond":
        # Steep and foreshortened: the blur around reaches beyond the horizon of the face's own plane.
        corners[:, 0, 2] = 0.02
    vertices = corners.reshape(-1, 3)
    if name == "coincident":
        half = torch.tensor([[-0.5, -0.5, 2.0], [0.5, -0.5, 2.0], [0.5, 0.5, 2.0], [-0.5, 0.5, 2.0]])
        square = torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(vertices)
        vertices, faces = torch.cat([vertices, half]), torch.cat([faces, square])
    return vertices[None], faces
