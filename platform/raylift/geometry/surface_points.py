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
    return (corners[samples, drawn] * weights[..., None]).sum(dim=2)
