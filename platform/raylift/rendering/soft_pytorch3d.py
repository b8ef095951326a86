"""The soft rasteriser's contract with PyTorch3D: used on a GPU, and as the reference of tests on any device."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.rendering.fragments import Fragments


def rasterize_soft_pytorch3d(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    faces_per_pixel: int,
    blur_radius: float,
    perspective: bool,
) -> Fragments:
    """``rasterize_soft`` by PyTorch3D, in float32: its x points left, its y up, and its faces count on."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    points = screen.float()
    points = points * constant([-1.0, -1.0, 1.0], points)
    batch, num_faces = points.shape[0], faces.shape[0]
    if num_faces == 0 or batch == 0:
        padding = points.new_full((batch, image_px, image_px, faces_per_pixel), -1.0)
        return Fragments(padding.long(), padding, padding[..., None].expand(*padding.shape, 3), padding.clone())
    pix_to_face, zbuf, bary, dists = rasterize_meshes(
        Meshes(verts=points, faces=faces.to(points.device).long()[None].expand(batch, -1, -1)),
        image_size=image_px,
        blur_radius=blur_radius,
        faces_per_pixel=faces_per_pixel,
        perspective_correct=perspective,
        clip_barycentric_coords=blur_radius > 0,
    )
    offset = torch.arange(batch, device=points.device)[:, None, None, None] * num_faces
    return Fragments(torch.where(pix_to_face >= 0, pix_to_face - offset, pix_to_face), zbuf, bary, dists)


def silhouette_pytorch3d(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    sigma: float,
    blur_radius: float,
    faces_per_pixel: int,
) -> Float[Tensor, "B H W"]:
    """``soft_silhouette`` by PyTorch3D: its fragments, blended by its ``sigmoid_alpha_blend``."""
    from pytorch3d.renderer.blending import BlendParams, sigmoid_alpha_blend

    fragments = rasterize_soft_pytorch3d(screen, faces, image_px, faces_per_pixel, blur_radius, True)
    shape = fragments.pix_to_face.shape
    # Only one layer of colours is read, and none is used.
    colors = fragments.zbuf.new_zeros(()).expand(*shape[:3], 1, 3)
    coverage: Tensor = sigmoid_alpha_blend(colors, fragments, BlendParams(sigma=sigma))[..., 3]
    return coverage
