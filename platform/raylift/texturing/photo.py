"""The texture of a reconstruction from its photograph: what the camera saw, then what its mirror image saw, then the
model's own colours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from raylift.core.types import Camera, Mesh
from raylift.rendering.corner_normals import corner_normals
from raylift.texturing.bake import ColorAt, generated_colors, with_texture
from raylift.texturing.photo_view import PhotoTrust, PhotoView
from raylift.texturing.texels import Texels, find_texels
from raylift.texturing.unwrap import unwrap


class TextureShares(NamedTuple):
    """Where a texture's colours come from, in shares of the charts' area, which sum to 1.

    Attributes:
        visible: the photograph.
        mirrored: the photograph of the point mirrored at x = 0.
        generated: the model.
    """

    visible: float
    mirrored: float
    generated: float


class PhotoTexture(NamedTuple):
    """A mesh with its texture, and where that comes from."""

    mesh: Mesh
    shares: TextureShares


def texture_from_photo(
    mesh: Mesh,
    camera: Camera,
    image: Float[Tensor, "3 H W"],
    mask: Float[Tensor, "H W"],
    generated: ColorAt | None,
    mirror: bool = True,
    texture_px: int = 512,
    rest_vertices: Float[Tensor, "V 3"] | None = None,
    trust: PhotoTrust | None = None,
) -> PhotoTexture:
    """Bake a texture from the photograph that a mesh was reconstructed from.

    A texel has the photograph's colour with weight a (seen, facing the camera, away from the background and from steps
    in depth), the colour of its mirror image with weight (1 - a) b, and the generated colour with weight
    (1 - a) (1 - b). Only foreground pixels are read, even in part.

    Args:
        mesh: counter-clockwise faces; its own colours are the generated ones if ``generated`` is None.
        camera: camera of the photograph, B = 1.
        image: RGB in [0, 1].
        mask: coverage in [0, 1].
        generated: colours by world point.
        mirror: whether the object is symmetric about x = 0.
        texture_px: side of the texture.
        rest_vertices: positions at which ``generated`` is asked: those before a refinement moved the surface.
        trust: which pixels and points count.

    Raises:
        DataError: the mesh has no faces or is invalid, the mask has no foreground, or sizes do not fit.
    """
    atlas = unwrap(mesh, texture_px)
    texels = find_texels(atlas.corner_uvs, texture_px)
    color = generated_colors(mesh, texels, generated, mesh.vertices if rest_vertices is None else rest_vertices)
    view = PhotoView.of(mesh, camera, image, mask, trust)
    points, normals = surface_of(mesh, texels)
    seen, visible = view.read(points, normals)
    mirrored = torch.zeros_like(visible)
    if mirror:
        flip = torch.tensor([-1.0, 1.0, 1.0])
        reflected, mirrored = view.read(points * flip, normals * flip, on_surface=False)
        color = torch.lerp(color, reflected, mirrored[:, None])
    color = torch.lerp(color, seen, visible[:, None])
    shares = _shares(texels, visible, mirrored)
    return PhotoTexture(with_texture(mesh, atlas.corner_uvs, texels.paint(color)), shares)


def surface_of(mesh: Mesh, texels: Texels) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """World point and outward unit normal of every texel; normals are smooth except across creases."""
    vertices, faces = mesh.vertices.detach().cpu().float(), mesh.faces.cpu()
    corners = torch.from_numpy(corner_normals(vertices.numpy(), faces.numpy())).float()
    normals = torch.nn.functional.normalize(texels.interpolate(corners), dim=1)
    return texels.interpolate(vertices[faces]), normals


def _shares(texels: Texels, visible: Float[Tensor, "N"], mirrored: Float[Tensor, "N"]) -> TextureShares:
    inside = texels.is_inside / texels.is_inside.sum().clamp(min=1)
    first = float((inside * visible).sum())
    second = float((inside * (1 - visible) * mirrored).sum())
    return TextureShares(first, second, max(0.0, 1 - first - second))
