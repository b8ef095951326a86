"""Colours of a surface baked into a texture: those of a function of points in space, or the mesh's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from torch import Tensor

from raylift.core.types import Field, Mesh
from raylift.rendering.textures import build_atlas, sample_texture
from raylift.texturing.texels import Texels, find_texels
from raylift.texturing.unwrap import unwrap

ColorAt = Callable[[Float[Tensor, "N 3"]], Float[Tensor, "N 3"]]
"""RGB in [0, 1] at world points on the surface."""

_CHUNK = 65_536
_GREY = 0.8


def bake(
    mesh: Mesh, color_at: ColorAt | None, texture_px: int, rest_vertices: Float[Tensor, "V 3"] | None = None
) -> Mesh:
    """The mesh with a new texture that shows ``color_at`` on its surface; vertex colours are dropped.

    Args:
        color_at: colours by world point; None uses the mesh's own colours or texture.
        texture_px: side of the texture.
        rest_vertices: positions at which ``color_at`` is asked: those before a refinement moved the surface.

    Raises:
        DataError: the mesh has no faces or is invalid, or an impossible size.
    """
    atlas = unwrap(mesh, texture_px)
    texels = find_texels(atlas.corner_uvs, texture_px)
    colors = generated_colors(mesh, texels, color_at, mesh.vertices if rest_vertices is None else rest_vertices)
    return with_texture(mesh, atlas.corner_uvs, texels.paint(colors))


def with_texture(mesh: Mesh, corner_uvs: Float[Tensor, "F 3 2"], texture: Float[Tensor, "H W 3"]) -> Mesh:
    """The mesh with this appearance alone."""
    return replace(mesh, vertex_colors=None, corner_uvs=corner_uvs, texture=texture)


def generated_colors(
    mesh: Mesh, texels: Texels, color_at: ColorAt | None, vertices: Float[Tensor, "V 3"]
) -> Float[Tensor, "N 3"]:
    """Colours of the texels without a photograph.

    Args:
        color_at: see ``bake``.
        vertices: positions at which ``color_at`` is asked: those before a refinement moved the surface.
    """
    if color_at is not None:
        points = texels.interpolate(vertices.detach().cpu()[mesh.faces.cpu()])
        return torch.cat([color_at(part).detach().cpu().float() for part in torch.split(points, _CHUNK)]).clamp(0, 1)
    if mesh.texture is not None and mesh.corner_uvs is not None:
        return _sampled(mesh.texture, texels.interpolate(mesh.corner_uvs.detach().cpu()))
    if mesh.vertex_colors is not None:
        return texels.interpolate(mesh.vertex_colors.detach().cpu()[mesh.faces.cpu()])
    return torch.full((len(texels.index), 3), _GREY)


def field_colors(field: Field) -> ColorAt:
    """The colours of a field as a function of points on the CPU."""

    def color_at(points: Tensor) -> Tensor:
        with torch.no_grad():
            return field.query(points.to(field.device))[1].cpu()

    return color_at


def _sampled(texture: Float[Tensor, "H W 3"], uvs: Float[Tensor, "N 2"]) -> Float[Tensor, "N 3"]:
    """A texture, bilinear and repeating, at coordinates of which (0, 0) is the bottom-left."""
    image = (texture.detach().cpu().numpy().clip(0, 1) * 255 + 0.5).astype(np.uint8)
    atlas = build_atlas([image], [(1.0, 1.0, 1.0)])
    found = _sample_all(atlas.texels, atlas.first[0], atlas.height[0], atlas.width[0], uvs.numpy().astype(np.float64))
    return torch.from_numpy(found).float()


@njit(cache=True, fastmath=False, nogil=True)
def _sample_all(
    texels: np.ndarray, first: np.ndarray, height: np.ndarray, width: np.ndarray, uvs: np.ndarray
) -> np.ndarray:
    found = np.empty((len(uvs), 3))
    for n in range(len(uvs)):
        found[n, 0], found[n, 1], found[n, 2] = sample_texture(
            texels, first, height, width, 1, uvs[n, 0], uvs[n, 1], 0.0
        )
    return found
