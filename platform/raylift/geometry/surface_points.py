"""Points on batches of meshes of one topology, differentiable in the vertices."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def surface_points(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], uniforms: Float[Tensor, "B N 3"]
) -> Float[Tensor, "B N 3"]:
    """Points uniform over each mesh's area: faces by area, then square-root barycentrics (Osada et al. 2002).

    Args:
        vertices: positions; which face a point is on, and where, counts as constant.
        faces: faces of all meshes.
        uniforms: draws in [0, 1): for the face, and for the place on it.
    """
    return _drawn(vertices, faces, uniforms)[0]


def drawn_points(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], uniforms: Float[Tensor, "B N 3"]
) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N 3"]]:
    """``surface_points`` with the unit normal of each point's face, outwards where faces are counter-clockwise."""
    points, corners = _drawn(vertices, faces, uniforms)
    a, b, c = corners.unbind(dim=2)
    cross = torch.linalg.cross(b - a, c - a, dim=-1)
    squared = cross.square().sum(dim=-1, keepdim=True)
    # A face without area is not drawn, except from a mesh without area.
    return points, cross / squared.clamp(min=1e-24).sqrt()


def _drawn(
    vertices: Tensor, faces: Tensor, uniforms: Tensor
) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N 3 3"]]:
    corners = vertices[:, faces]
    with torch.no_grad():
        sides = corners[:, :, 1:] - corners[:, :, :1]
        areas = torch.linalg.cross(sides[:, :, 0], sides[:, :, 1], dim=-1).norm(dim=-1)
        cumulative = areas.cumsum(dim=1)
        wanted = uniforms[..., 0] * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, wanted.contiguous(), right=True).clamp(max=len(faces) - 1)
        root, share = uniforms[..., 1].sqrt(), uniforms[..., 2]
        weights = torch.stack([1 - root, root * (1 - share), root * share], dim=-1)
    samples = torch.arange(len(vertices), device=vertices.device)[:, None]
    chosen = corners[samples, drawn]
    return (chosen * weights[..., None]).sum(dim=2), chosen
