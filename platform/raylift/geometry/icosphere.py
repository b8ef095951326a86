"""The initial sphere of templates, ordered so that its left half is the mirror image of its right half.

An icosphere of level 3 has 642 vertices and 1280 faces. 32 vertices are on the plane x = 0 and 305 pairs mirror each
other, so 337 vertices determine a symmetric shape; 32 faces cross the plane and are their own mirror images, 624 pairs
mirror each other (CMR, Kanazawa et al. 2018).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from raylift.core.errors import ConfigError

WORLD_RADIUS = 0.5
"""Half the longest bounding-box edge of the world convention."""
FINEST_LEVEL = 6


def icosphere(level: int) -> tuple[Float64[np.ndarray, "V 3"], Int64[np.ndarray, "F 3"]]:
    """An icosahedron whose triangles are split into four ``level`` times, projected to the unit sphere.

    Returns:
        unit vertices, symmetric about all three coordinate planes, 10 * 4^level + 2 of them; faces, counter-clockwise
        seen from outside, 20 * 4^level of them.

    Raises:
        ConfigError: the level is not between 0 and 6.
    """
    if not 0 <= level <= FINEST_LEVEL:
        raise ConfigError(f"the icosphere's level is {level}", f"use a level from 0 to {FINEST_LEVEL}; 3 is usual")
    golden = (1 + 5**0.5) / 2
    corners = [(0.0, one, other) for one in (-1.0, 1.0) for other in (-golden, golden)]
    corners = [tuple(np.roll(corner, turn)) for turn in range(3) for corner in corners]
    vertices = np.array(corners) / np.hypot(1, golden)
    faces = _hull_of_icosahedron(vertices)
    for _ in range(level):
        vertices, faces = _subdivide(vertices, faces)
    return vertices, faces


def _hull_of_icosahedron(vertices: np.ndarray) -> np.ndarray:
    """The 20 faces of an icosahedron: triples of mutual nearest neighbours, with normals pointing outwards."""
    gaps = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    near = (gaps > 0) & (gaps < 1.01 * gaps[gaps > 0].min())
    faces = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if near[a, b] and near[b, c] and near[a, c]:
                    outward = np.dot(np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a]), vertices[a]) > 0
                    faces.append((a, b, c) if outward else (a, c, b))
    return np.array(faces)


def _subdivide(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each triangle into four by the midpoints of its edges, which are projected to the sphere."""
    halves = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, index = np.unique(halves, axis=0, return_inverse=True)
    middle = vertices[edges[:, 0]] + vertices[edges[:, 1]]
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    ab, bc, ca = (len(vertices) + index.reshape(3, -1)).astype(np.int64)
    a, b, c = faces.T
    split = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
    return np.concatenate([vertices, middle]), split


@dataclass(frozen=True)
class SymmetricTemplate:
    """A mesh symmetric about x = 0, and how to expand half of its vertices to all of them.

    Vertices are in the order: P_0 on the plane, P_1 with x > 0, the P_1 mirror images of those. Faces likewise: those
    that cross the plane, those with x > 0, the mirror images of those.

    Attributes:
        vertices: positions in the world frame.
        faces: counter-clockwise seen from outside.
        source: index of each vertex's predicted vertex, in [0, P_0 + P_1).
        reflection: factors of its predicted position: for x, 1, -1 for mirrored vertices, and 0 on the plane.
        mirror_vertex: mirror image of each vertex.
        mirror_face: mirror image of each face.
        num_on_plane: P_0.
        num_crossing: number of faces that cross the plane.
    """

    vertices: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    source: Int[Tensor, "V"]
    reflection: Float[Tensor, "V 3"]
    mirror_vertex: Int[Tensor, "V"]
    mirror_face: Int[Tensor, "F"]
    num_on_plane: int
    num_crossing: int

    @property
    def num_predicted(self) -> int:
        """Number of vertices that determine the shape: P = P_0 + P_1."""
        return (self.num_on_plane + self.vertices.shape[0]) // 2

    def expand(self, predicted: Float[Tensor, "*B P 3"]) -> Float[Tensor, "*B V 3"]:
        """Expand predicted vertices (or offsets) to all of a symmetric shape; x on the plane becomes 0."""
        return predicted[..., self.source, :] * self.reflection.to(predicted.dtype)

    def restrict(self, vertices: Float[Tensor, "*B V 3"]) -> Float[Tensor, "*B P 3"]:
        """Select the predicted ones among all vertices: ``expand(restrict(v))`` is ``v`` if ``v`` is symmetric."""
        return vertices[..., : self.num_predicted, :]

    def to(self, device: torch.device | str) -> SymmetricTemplate:
        """Move every tensor."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def sphere_interpolation(coarse: SymmetricTemplate, directions: Float[Tensor, "N 3"]) -> Float64[Tensor, "N V"]:
    """Weights that read values at a sphere's vertices in other directions: barycentric, in the face met there.

    Args:
        coarse: vertices of one radius.
        directions: directions of any length above 0.
    """
    corners = coarse.vertices.double()[coarse.faces]
    wanted = directions.double() / directions.double().norm(dim=1, keepdim=True)
    # A direction that is a sum of a face's corners with nonnegative weights meets that face.
    weights = torch.einsum("fij,nj->nfi", torch.linalg.inv(corners.mT), wanted)
    face = weights.amin(dim=2).argmax(dim=1)
    picked = weights[torch.arange(len(wanted)), face].clamp(min=0)
    found = torch.zeros(len(wanted), len(coarse.vertices), dtype=torch.float64)
    return found.scatter_(1, coarse.faces[face], picked / picked.sum(dim=1, keepdim=True))


def symmetric_icosphere(level: int = 3, radius: float = WORLD_RADIUS) -> SymmetricTemplate:
    """An icosphere in the symmetric order; float32.

    Args:
        level: see ``icosphere``.
        radius: world units; 0.5 makes its longest bounding-box edge 1 (from level 1 on).

    Raises:
        ConfigError: an impossible level or radius.
    """
    if not radius > 0:
        raise ConfigError(f"the sphere's radius is {radius}", "use a radius above 0")
    vertices, faces = icosphere(level)
    mirror = _mirror_vertices(vertices)
    on_plane = np.flatnonzero(mirror == np.arange(len(vertices)))
    right = np.flatnonzero((vertices[:, 0] > 0) & (mirror != np.arange(len(vertices))))
    order = np.concatenate([on_plane, right, mirror[right]])
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    vertices, faces, mirror = vertices[order], place[faces], place[mirror[order]]
    vertices[: len(on_plane), 0] = 0

    keys = {tuple(sorted(face)): index for index, face in enumerate(faces.tolist())}
    twin = np.array([keys[tuple(sorted(face))] for face in mirror[faces].tolist()])
    crossing = np.flatnonzero(twin == np.arange(len(faces)))
    sideways = vertices[faces].sum(axis=1)[:, 0]
    one_side = np.flatnonzero((sideways > 0) & (twin != np.arange(len(faces))))
    # Mirroring turns a face inside out, so its second and third corners are swapped.
    other_side = mirror[faces[one_side]][:, [0, 2, 1]]
    faces = np.concatenate([faces[crossing], faces[one_side], other_side])

    count, half = len(on_plane), len(right)
    reflection = np.ones((len(vertices), 3))
    reflection[:count, 0], reflection[count + half :, 0] = 0, -1
    number, sides = len(crossing), len(one_side)
    face_twins = np.concatenate([np.arange(number), number + sides + np.arange(sides), number + np.arange(sides)])
    return SymmetricTemplate(
        vertices=torch.from_numpy(vertices * radius).float(),
        faces=torch.from_numpy(faces),
        source=torch.from_numpy(np.concatenate([np.arange(count + half), count + np.arange(half)])),
        reflection=torch.from_numpy(reflection).float(),
        mirror_vertex=torch.from_numpy(mirror),
        mirror_face=torch.from_numpy(face_twins),
        num_on_plane=count,
        num_crossing=number,
    )


def _mirror_vertices(vertices: np.ndarray) -> np.ndarray:
    """Index of the vertex at (-x, y, z) for each vertex; itself on the plane."""
    rounded = np.round(vertices, 9) + 0.0  # + 0.0 turns -0.0 into 0.0
    where = {tuple(row): index for index, row in enumerate(rounded.tolist())}
    mirrored = rounded * np.array([-1.0, 1.0, 1.0]) + 0.0
    return np.array([where[tuple(row)] for row in mirrored.tolist()])
