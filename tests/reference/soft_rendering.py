"""Slow, obvious soft rendering in plain torch, every face at every pixel, derived by autograd.

Conventions are those of the functions of the same names in ``raylift.rendering``; shapes are dense, [B, H, W, F], so
keep them tiny.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.geometry.cameras import pixel_centers
from raylift.rendering.fragments import Fragments

EPSILON = 1e-8


class DenseFaces(NamedTuple):
    """Every face at every pixel of B images."""

    covered: Bool[Tensor, "B H W F"]
    depth: Float[Tensor, "B H W F"]
    bary: Float[Tensor, "B H W F 3"]
    dists: Float[Tensor, "B H W F"]


def _edge(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return (p[..., 0] - a[..., 0]) * (b[..., 1] - a[..., 1]) - (p[..., 1] - a[..., 1]) * (b[..., 0] - a[..., 0])


def _segment(p: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Squared distance from p to ab. The foot may stand still: by it the distance has no derivative."""
    way = b - a
    length = (way * way).sum(-1)
    along = (((p - a) * way).sum(-1) / length.clamp(min=1e-30)).clamp(0, 1).detach()
    along = torch.where(length <= EPSILON, torch.ones_like(along), along)
    return ((p - a - along[..., None] * way) ** 2).sum(-1)


def dense_faces(
    screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_px: int, blur_radius: float, perspective: bool
) -> DenseFaces:
    """What ``rasterize_soft`` could report of each face at each pixel, and whether the face covers it."""
    corners = screen[:, faces]
    xy, z = corners[..., :2], corners[..., 2]
    # Rounded as PyTorch3D's, whose axes run backwards: where two edges are equally near, the last bit decides.
    p = -pixel_centers(image_px, image_px, screen.device, screen.dtype).flip(0, 1)[None, :, :, None]
    v0, v1, v2 = (xy[:, None, None, :, c] for c in range(3))
    z = z[:, None, None]
    area = _edge(v2, v0, v1)
    weights = torch.stack([_edge(p, v1, v2), _edge(p, v2, v0), _edge(p, v0, v1)], -1) / (area + EPSILON)[..., None]
    if perspective:
        weights = weights * z.prod(-1, keepdim=True) / z
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=EPSILON)
    inside = (weights > 0).all(-1)
    if blur_radius > 0:
        weights = weights.clamp(min=0)
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-5)
    depth = (weights * z).sum(-1)
    distance = torch.stack([_segment(p, v0, v1), _segment(p, v0, v2), _segment(p, v1, v2)], -1).min(-1).values
    kept = (area.abs() > EPSILON) & (z.amin(-1) >= EPSILON)
    covered = kept & (depth >= 0) & (inside | (distance < blur_radius))
    return DenseFaces(covered, depth, weights, torch.where(inside, -distance, distance))


def soft_silhouette(
    screen: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], image_px: int, sigma: float, blur_radius: float
) -> Float[Tensor, "B H W"]:
    """1 - prod_f (1 - sigmoid(-d_f / sigma)) over the faces that are felt (SoftRas, eqs. 1 and 4)."""
    dense = dense_faces(screen, faces, image_px, blur_radius, True)
    coverage = torch.where(dense.covered, torch.sigmoid(-dense.dists / sigma), torch.zeros_like(dense.dists))
    return 1 - torch.prod(1 - coverage, -1)


def rasterize_soft(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    faces_per_pixel: int,
    blur_radius: float,
    perspective: bool,
) -> Fragments:
    """The nearest K of the covering faces, the lower index first at equal depth."""
    dense = dense_faces(screen, faces, image_px, blur_radius, perspective)
    order = torch.where(dense.covered, dense.depth, torch.inf).sort(stable=True, dim=-1).indices
    missing = faces_per_pixel - order.shape[-1]
    if missing > 0:
        order = torch.cat([order, order[..., -1:].expand(*order.shape[:-1], missing)], -1)
    order = order[..., :faces_per_pixel]
    rank = torch.arange(faces_per_pixel)
    there = rank < dense.covered.sum(-1, keepdim=True)

    def picked(values: Tensor) -> Tensor:
        return torch.where(there, values.gather(-1, order), -torch.ones_like(order, dtype=values.dtype))

    bary = torch.stack([picked(dense.bary[..., c]) for c in range(3)], -1)
    return Fragments(torch.where(there, order, -1), picked(dense.depth), bary, picked(dense.dists))


def blend(
    fragments: Fragments,
    colors: Float[Tensor, "B H W K C"],
    background: Float[Tensor, "C"],
    sigma: float,
    gamma: float,
    near: float,
    far: float,
    background_eps: float,
) -> Float[Tensor, "B C H W"]:
    """SoftRas's softmax (eqs. 2, 3) as a mean of colours, the background being one more face, in logarithms.

    Where the background's exponential falls below ``background_eps`` of the nearest face's, it is held there.
    """
    seen = fragments.pix_to_face >= 0
    inverse = torch.where(seen, (far - fragments.zbuf) / (far - near), torch.zeros_like(fragments.zbuf))
    nearest = inverse.amax(-1, keepdim=True).clamp(min=background_eps)
    logits = torch.nn.functional.logsigmoid(-fragments.dists / sigma) + (inverse - nearest) / gamma
    logits = torch.where(seen, logits, torch.full_like(logits, -torch.inf))
    behind = ((background_eps - nearest) / gamma).exp().clamp(min=background_eps).log()
    shares = torch.softmax(torch.cat([logits, behind], -1), -1)
    everything = torch.cat([colors, background.expand(*colors.shape[:3], 1, -1)], -2)
    return (shares[..., None] * everything).sum(-2).permute(0, 3, 1, 2)


def texture_colors(
    fragments: Fragments, corner_uvs: Float[Tensor, "F 3 2"], texture: Float[Tensor, "B C Ht Wt"]
) -> Float[Tensor, "B H W K C"]:
    """Bilinear samples by torch's ``grid_sample`` at the points of the faces that are seen."""
    corners = corner_uvs[fragments.pix_to_face.clamp(min=0)]
    uv = (fragments.bary_coords[..., None] * corners).sum(-2)
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)
    batch, height, width, layers, _ = grid.shape
    samples = torch.nn.functional.grid_sample(
        texture, grid.reshape(batch, height, width * layers, 2), padding_mode="border", align_corners=False
    )
    return samples.reshape(batch, -1, height, width, layers).permute(0, 2, 3, 4, 1)
