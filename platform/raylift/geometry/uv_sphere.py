"""The mapping phi between the texture plane and a sphere template (adaptive-gradient paper, equation 9).

The texture is an equirectangular image: u runs around the Y axis and is 0.5 in front (+Z), 0.75 at +X; v runs from
the south pole (0) to the north pole (1). Texture coordinates are OpenGL's, (0, 0) bottom-left, as in
``core.types.Mesh``.

There is no visible seam: coordinates are per face corner, not per vertex. A face across the back (u = 0 = 1) has
coordinates that continue beyond 0 or 1, and a texture repeats in u; a face at a pole has the pole's corner at its own
centre.

A left-right symmetric texture is a half (u from 0.5 to 1, the +X side) and its mirror image.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from raylift.core.errors import ConfigError, DataError

TEXTURE_HEIGHT = 128
TEXTURE_WIDTH = 256
SAMPLES_A_SIDE = 6
"""Points per side of the 6 x 6 points that a face's texture is read at (UMR)."""


def sphere_uvs(directions: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 2"]:
    """Texture coordinates in [0, 1]^2 of directions from the centre; at the poles u is 0.5."""
    x, y, z = functional.normalize(directions, dim=-1).unbind(-1)
    return torch.stack([0.5 + torch.atan2(x, z) / (2 * math.pi), 0.5 + torch.asin(y.clamp(-1, 1)) / math.pi], dim=-1)


def sphere_directions(uvs: Float[Tensor, "*N 2"]) -> Float[Tensor, "*N 3"]:
    """The inverse of ``sphere_uvs``."""
    around, up = (uvs[..., 0] - 0.5) * 2 * math.pi, (uvs[..., 1] - 0.5) * math.pi
    return torch.stack([around.sin() * up.cos(), up.sin(), around.cos() * up.cos()], dim=-1)


def corner_uvs(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"]) -> Float[Tensor, "F 3 2"]:
    """Texture coordinates of each face's corners; u may leave [0, 1] for a face across the back.

    Args:
        vertices: vertices of a sphere-like template around the origin.

    Raises:
        DataError: a vertex at the origin.
    """
    if bool((vertices.norm(dim=-1) < 1e-9).any()):
        raise DataError(
            "a template vertex is at the origin", "UVs are directions from the origin: use a sphere's vertices"
        )
    corners = vertices.double()[faces]
    uvs = sphere_uvs(corners)
    at_pole = corners[..., [0, 2]].norm(dim=-1) < 1e-6 * corners.norm(dim=-1)
    middle = sphere_uvs(corners.sum(dim=1))[:, None, 0]
    u = middle + torch.remainder(uvs[..., 0] - middle + 0.5, 1.0) - 0.5
    others = (u * ~at_pole).sum(dim=1, keepdim=True) / (~at_pole).sum(dim=1, keepdim=True).clamp(min=1)
    return torch.stack([torch.where(at_pole, others, u), uvs[..., 1]], dim=-1).to(vertices.dtype)


def mirror_texture(half: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B H 2*W"]:
    """Make a symmetric texture (or texture flow) from the half on the +X side: its mirror image is to its left."""
    return torch.cat([half.flip(-1), half], dim=-1)


def sample_texture(texture: Float[Tensor, "B C H W"], uvs: Float[Tensor, "B *N 2"]) -> Float[Tensor, "B *N C"]:
    """Read textures bilinearly, repeated in u and clamped at the poles; differentiable in both.

    Args:
        texture: textures, first row on top.
        uvs: OpenGL's texture coordinates; any u, v in [0, 1].
    """
    batch, channels, _, width = texture.shape
    # A column of the opposite side at each end makes bilinear reading continue across the back.
    wrapped = torch.cat([texture[..., -1:], texture, texture[..., :1]], dim=-1)
    u = torch.remainder(uvs[..., 0], 1.0)
    grid = torch.stack([2 * (u * width + 1) / (width + 2) - 1, 1 - 2 * uvs[..., 1]], dim=-1)
    read = functional.grid_sample(wrapped, grid.reshape(batch, -1, 1, 2), padding_mode="border", align_corners=False)
    return read[..., 0].mT.reshape(*uvs.shape[:-1], channels)


def face_barycentrics(samples_a_side: int = SAMPLES_A_SIDE) -> Float[Tensor, "S 3"]:
    """Weights of a face's corners at S = samples_a_side^2 points of equal area.

    The cells of a square, mapped by (1 - sqrt a, sqrt a (1 - b), sqrt a b), which keeps areas (Osada et al. 2002).

    Raises:
        ConfigError: fewer than one sample per side.
    """
    if samples_a_side < 1:
        raise ConfigError(f"{samples_a_side} texture samples per side of a face", "use at least 1; 6 is usual")
    steps = (torch.arange(samples_a_side, dtype=torch.float64) + 0.5) / samples_a_side
    a, b = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    root = a.sqrt()
    return torch.stack([1 - root, root * (1 - b), root * b], dim=-1).float()


def face_sample_uvs(corners: Float[Tensor, "F 3 2"], samples_a_side: int = SAMPLES_A_SIDE) -> Float[Tensor, "F S 2"]:
    """Texture coordinates of each face's samples: phi^-1 of S = samples_a_side^2 points of the face."""
    weights = face_barycentrics(samples_a_side).to(corners)
    return torch.einsum("sk,fkc->fsc", weights, corners)


class TexelMap(NamedTuple):
    """Position on the mesh of every texel of the texture: phi.

    Attributes:
        face: face that shows the texel.
        barycentrics: position on the face, as weights of its corners.
    """

    face: Int[Tensor, "H W"]
    barycentrics: Float[Tensor, "H W 3"]


def texel_map(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    height: int = TEXTURE_HEIGHT,
    width: int = TEXTURE_WIDTH,
) -> TexelMap:
    """Find every texel's face, by the faces' triangles in the texture plane; on a border the lower face index.

    Triangles that end at a pole leave gaps between each other. A texel in a gap is never shown, and gets the face that
    its direction from the sphere's centre intersects.

    Raises:
        ConfigError: a texture without texels.
        DataError: a vertex at the origin.
    """
    if min(height, width) < 1:
        raise ConfigError(f"the texture has {height} x {width} texels", "use at least 1 x 1; 128 x 256 is usual")
    corners = corner_uvs(vertices.double(), faces).numpy()
    face = np.full((height, width), -1, np.int64)
    weights = np.zeros((height, width, 3))
    for index in range(len(corners) - 1, -1, -1):
        _mark_texels(corners[index], index, face, weights)
    rows, columns = np.nonzero(face < 0)
    if len(rows):
        uvs = torch.from_numpy(np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=-1))
        face[rows, columns], weights[rows, columns] = _pierced(vertices.double().numpy(), faces.numpy(), uvs)
    return TexelMap(torch.from_numpy(face), torch.from_numpy(weights).float())


def _mark_texels(corners: np.ndarray, index: int, face: np.ndarray, weights: np.ndarray) -> None:
    """Store one face at the texels whose centres its triangle covers."""
    height, width = face.shape
    x, y = corners[:, 0] * width - 0.5, (1 - corners[:, 1]) * height - 0.5
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    if area == 0:
        return
    columns = np.arange(math.ceil(x.min() - 1e-9), math.floor(x.max() + 1e-9) + 1)
    rows = np.arange(max(math.ceil(y.min() - 1e-9), 0), min(math.floor(y.max() + 1e-9), height - 1) + 1)
    across, down = np.meshgrid(columns, rows)
    second = ((across - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (down - y[0])) / area
    third = ((x[1] - x[0]) * (down - y[0]) - (across - x[0]) * (y[1] - y[0])) / area
    inside = np.stack([1 - second - third, second, third], axis=-1)
    covered = (inside >= -1e-9).all(axis=-1)
    at = down[covered], across[covered] % width
    face[at] = index
    weights[at] = inside[covered].clip(0, 1)


def _pierced(vertices: np.ndarray, faces: np.ndarray, uvs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The face that each direction from the centre intersects, and where."""
    directions = sphere_directions(uvs).numpy()
    inverse = np.linalg.inv(vertices[faces].transpose(0, 2, 1))
    shares = np.einsum("fij,nj->nfi", inverse, directions)
    best = shares.min(axis=-1).argmax(axis=1)
    picked = shares[np.arange(len(best)), best].clip(min=0)
    return best, picked / picked.sum(axis=-1, keepdims=True)
