"""How the surface coordinate under each pixel moves with the pose: its Jacobian in closed form."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.geometry.cameras import pixel_centers, to_camera_axes
from raylift.models.dmnt.inference.candidates import POSE_SIZE
from raylift.models.dmnt.inference.config import OffsetKind
from raylift.rendering.uv_fragments import UvFragments


class UvMotion(NamedTuple):
    """Derivatives of uv at the pixels that show the surface.

    Attributes:
        candidate, row, column: which pixel of which candidate.
        jacobian: of uv with respect to the step of ``candidates.moved_camera``, at no step.
    """

    candidate: Int[Tensor, "P"]
    row: Int[Tensor, "P"]
    column: Int[Tensor, "P"]
    jacobian: Float[Tensor, "P 2 6"]


def uv_motion(
    vertices: Float[Tensor, "M V 3"],
    faces: Int[Tensor, "F 3"],
    corner_uvs: Float[Tensor, "F 3 2"],
    camera: Camera,
    found: UvFragments,
    offset: OffsetKind,
) -> UvMotion:
    """Differentiate the intersection of each pixel's ray with its face.

    The ray z r meets the face at X, whose surface point moves with velocity V, while the ray turns with r'. Relative to
    the surface the intersection moves within the face's plane, of normal n, by D = (r n^T / n.r - I) (V - z r'). uv
    changes by G D, G the gradient of the barycentric interpolation. V is w x (X - t) for a rotation w, t for the
    logarithm of the distance, and (t_z / fx, 0, 0) and (0, t_z / fy, 0) for a shift by translation. For a shift of the
    principal point r' is -(1 / fx, 0, 0) and -(0, 1 / fy, 0).

    Args:
        camera: M perspective cameras.
        found: of these meshes and cameras.
        offset: what a shift moves.
    """
    candidate, row, column = found.mask.nonzero(as_tuple=True)
    face = found.face[candidate, row, column]
    points = to_camera_axes(camera, vertices)
    corners = points.flatten(0, 1)[faces[face] + candidate[:, None] * points.shape[1]]
    ray = _rays(camera, found.mask.shape[-1], candidate, row, column)
    depth = found.depth[candidate, row, column].to(ray)[:, None]
    origin = camera.translation[candidate]

    velocity = ray.new_zeros(len(face), POSE_SIZE, 3)
    axes = torch.eye(3, dtype=ray.dtype, device=ray.device)
    arm = depth * ray - origin
    velocity[:, :3] = torch.linalg.cross(axes.expand(len(face), 3, 3), arm[:, None].expand(-1, 3, -1))
    velocity[:, 3] = origin
    far = depth if offset == "principal" else origin[:, 2:]
    velocity[:, 4:, :2] = torch.diag_embed(far / camera.focal[candidate])

    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = torch.linalg.cross(first, second)
    facing = (normal * ray).sum(1)[:, None, None]
    along = (velocity * normal[:, None]).sum(2, keepdim=True) / torch.where(facing == 0, 1e-12, facing)
    moved = along * ray[:, None] - velocity
    squared = normal.square().sum(1, keepdim=True).clamp(min=1e-20)
    weights = (
        torch.stack([torch.linalg.cross(second, normal), torch.linalg.cross(normal, first)], 1) / squared[..., None]
    )
    uvs = corner_uvs[face].to(ray)
    edges = uvs[:, 1:] - uvs[:, :1]
    jacobian = edges.mT @ weights @ moved.mT
    return UvMotion(candidate, row, column, jacobian)


def _rays(
    camera: Camera, side: int, candidate: Int[Tensor, "P"], row: Int[Tensor, "P"], column: Int[Tensor, "P"]
) -> Float[Tensor, "P 3"]:
    """Directions of pixels' rays in camera axes, with z = 1."""
    pixels = pixel_centers(side, side, camera.focal.device, camera.focal.dtype)[row, column]
    plane = (pixels - camera.principal[candidate]) / camera.focal[candidate]
    return torch.cat([plane, torch.ones_like(plane[:, :1])], 1)
