"""The nearest face at each pixel, by the z-buffer that pictures and scans are made with, and by PyTorch3D."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.types import Camera
from raylift.rendering.triangles import NEAR, check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest


class NearestFaces(NamedTuple):
    """Of B views: the face, -1 for none, and its depth z in camera axes, -1 likewise."""

    face: Int[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]


def nearest_faces(vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], camera: Camera, px: int) -> NearestFaces:
    """By ``zbuffer.fill_nearest``: as PyTorch3D, but that centres on edges are covered, and slivers too."""
    check_image_px(px)
    positions, indices = vertices.numpy(), faces.numpy()
    check_mesh(positions, indices)
    found, depths = [], []
    for index in range(len(camera)):
        screen = project_triangles(positions, indices, camera[index])
        depth, triangle = fill_nearest(screen.corners, px, camera.projection == "perspective", 0.0)
        seen = triangle >= 0
        found.append(np.full(triangle.shape, -1, np.int64))
        found[-1][seen] = screen.face[triangle[seen]]
        depths.append(np.where(seen, depth, -1.0).astype(np.float32))
    return NearestFaces(torch.from_numpy(np.stack(found)), torch.from_numpy(np.stack(depths)))


def nearest_faces_pytorch3d(
    vertices: Float[Tensor, "V 3"], faces: Int[Tensor, "F 3"], camera: Camera, px: int
) -> NearestFaces:
    """The same by PyTorch3D. Its NDC has x to the left and y up; z stays the camera's."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    if faces.shape[0] == 0:
        nothing = torch.full((len(camera), px, px), -1)
        return NearestFaces(nothing, nothing.float())
    points = vertices @ camera.rotation.mT + camera.translation[:, None]
    depth = points[..., 2:]
    perspective = camera.projection == "perspective"
    if perspective:
        # Its near clipping undoes this division, so z must keep its sign and may not be 0.
        depth = torch.where(depth.abs() < 1e-6, torch.where(depth < 0, -1e-6, 1e-6), depth)
    image = points[..., :2] / (depth if perspective else 1) * camera.focal[:, None] + camera.principal[:, None]
    meshes = Meshes(verts=list(torch.cat([-image, depth], dim=-1)), faces=[faces.long()] * len(camera))
    pix_to_face, zbuf, _, _ = rasterize_meshes(
        meshes, image_size=px, blur_radius=0.0, faces_per_pixel=1, perspective_correct=perspective, z_clip_value=NEAR
    )
    # It counts faces through the whole batch; ours count within each mesh.
    face = pix_to_face[..., 0] - torch.arange(len(camera))[:, None, None] * faces.shape[0]
    return NearestFaces(torch.where(pix_to_face[..., 0] >= 0, face, -1), zbuf[..., 0])
