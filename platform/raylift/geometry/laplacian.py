"""Adjacency of a mesh, and the uniform Laplacian and dihedral angles that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError


@dataclass(frozen=True)
class Adjacency:
    """The edges of a triangle mesh.

    Attributes:
        edges: vertex pairs, each once, the lower index first.
        edge_faces: the two faces of every shared edge; border edges are omitted.
        degree: number of neighbours of each vertex.
    """

    edges: Int[Tensor, "E 2"]
    edge_faces: Int[Tensor, "S 2"]
    degree: Int[Tensor, "V"]

    def to(self, device: torch.device | str) -> Adjacency:
        """Move every tensor."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def adjacency(faces: Int[Tensor, "F 3"], num_vertices: int) -> Adjacency:
    """The edges of a mesh, and the faces that share them.

    Raises:
        DataError: an index is out of range, or an edge has more than two faces.
    """
    if faces.numel() and not (int(faces.min()) >= 0 and int(faces.max()) < num_vertices):
        raise DataError(
            f"a face refers to a vertex outside of 0..{num_vertices - 1}", "pass the faces of the same mesh"
        )
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    owner = torch.arange(faces.shape[0], device=faces.device).repeat(3)
    edges, edge_of_side, count = sides.unique(dim=0, return_inverse=True, return_counts=True)
    if count.numel() and int(count.max()) > 2:
        raise DataError("an edge has more than two faces", "make the mesh a surface: remove the extra faces")
    order = edge_of_side.argsort(stable=True)
    first = count.cumsum(0) - count
    shared = count == 2
    edge_faces = torch.stack([owner[order[first[shared]]], owner[order[first[shared] + 1]]], dim=1)
    degree = torch.bincount(edges.flatten(), minlength=num_vertices)
    return Adjacency(edges, edge_faces, degree)


def uniform_laplacian(vertices: Float[Tensor, "*B V 3"], mesh: Adjacency) -> Float[Tensor, "*B V 3"]:
    """Offset of each vertex from the mean of its neighbours (adaptive-gradient paper, equation 5).

    delta_p = v_p - 1 / |N(p)| * sum over q in N(p) of v_q; zero for a vertex without neighbours. World units.
    """
    first, second = mesh.edges.unbind(1)
    total = torch.zeros_like(vertices)
    total = total.index_add(-2, first, vertices[..., second, :]).index_add(-2, second, vertices[..., first, :])
    mean = total / mesh.degree.clamp(min=1)[:, None].to(vertices.dtype)
    return torch.where((mesh.degree > 0)[:, None], vertices - mean, torch.zeros_like(vertices))


def face_normals(vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "*B F 3"]:
    """Unit normals, outwards where faces are counter-clockwise seen from outside; zero where a face has no area."""
    a, b, c = (vertices[..., faces[:, corner], :] for corner in range(3))
    cross = torch.linalg.cross(b - a, c - a, dim=-1)
    squared = cross.square().sum(-1, keepdim=True)
    # A world-unit area below 1e-15 has no direction; the inner where keeps its gradient zero instead of NaN.
    flat = squared < 1e-30
    return torch.where(
        flat, torch.zeros_like(cross), cross / torch.where(flat, torch.ones_like(squared), squared).sqrt()
    )


def dihedral_cosines(
    vertices: Float[Tensor, "*B V 3"], faces: Int[Tensor, "F 3"], mesh: Adjacency
) -> Float[Tensor, "*B S"]:
    """cos(nu) of the angle nu between two faces at their common edge: -1 (nu = 180 degrees) where they are flat.

    It is minus the product of their unit normals, which requires the same winding of the two faces. An edge with a face
    without area counts as a right angle (0).
    """
    normals = face_normals(vertices, faces)
    first, second = (normals[..., mesh.edge_faces[:, side], :] for side in range(2))
    return -(first * second).sum(-1)
