"""One rasteriser, two machines: compiled z-buffer on the CPU, PyTorch3D on the GPU, the same fragments from both."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.types import Camera
from raylift.rendering.fragments import Fragments
from raylift.rendering.triangles import NEAR, check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import SLIVER_AREA, fill_layers, fill_nearest, resolve


def rasterize(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    image_px: int,
    faces_per_pixel: int = 1,
    blur_radius: float = 0.0,
) -> Fragments:
    """The nearest faces of one mesh at each pixel of B views; no gradient flows.

    Rules of both implementations: a pixel centre exactly on an edge is not covered; at equal depth the lower face index
    comes first; faces of a doubled screen area of 1e-8 or less are left out; what is nearer than ``NEAR`` is cut away.

    Args:
        vertices: world positions; their device decides who rasterises.
        camera: B cameras.
        image_px: pixels a side.
        faces_per_pixel: K.
        blur_radius: squared distance in normalised coordinates up to which a face covers pixels outside of it too; with
            it, barycentric weights are clipped to the face, as PyTorch3D's ``MeshRasterizer`` does.

    Raises:
        DataError: a mesh that cannot be indexed, or sizes that cannot be meant.
    """
    check_image_px(image_px)
    if faces_per_pixel < 1 or not 0 <= blur_radius < float("inf"):
        raise DataError(
            f"faces_per_pixel {faces_per_pixel}, blur_radius {blur_radius}",
            "give at least 1 face and a blur of 0 or more",
        )
    if vertices.device.type == "cpu":
        return _rasterize_compiled(vertices, faces, camera, image_px, faces_per_pixel, blur_radius)
    return rasterize_pytorch3d(vertices, faces, camera, image_px, faces_per_pixel, blur_radius)


def _rasterize_compiled(
    vertices: Tensor, faces: Tensor, camera: Camera, image_px: int, faces_per_pixel: int, blur_radius: float
) -> Fragments:
    positions = vertices.detach().numpy()
    indices = faces.detach().cpu().numpy()
    check_mesh(positions, indices)
    perspective = camera.projection == "perspective"
    views: list[tuple[np.ndarray, ...]] = []
    for index in range(len(camera)):
        screen = project_triangles(positions, indices, camera[index])
        if faces_per_pixel == 1 and blur_radius == 0:
            _, nearest = fill_nearest(screen.corners, image_px, perspective, False, SLIVER_AREA, 0.0)
            triangle = nearest[:, :, None]
        else:
            triangle = fill_layers(
                screen.corners, screen.sibling, image_px, faces_per_pixel, float(blur_radius), perspective
            )
        views.append(resolve(screen.corners, screen.face, screen.weights, triangle, perspective, blur_radius > 0))
    return Fragments(*(torch.from_numpy(np.stack(parts)) for parts in zip(*views, strict=True)))


@torch.no_grad()
def rasterize_pytorch3d(
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    image_px: int,
    faces_per_pixel: int = 1,
    blur_radius: float = 0.0,
) -> Fragments:
    """``rasterize`` by PyTorch3D, on any device. Its NDC has x to the left and y up; z stays the camera's."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    placed = camera.to(vertices.device, torch.float32)
    points = vertices.float() @ placed.rotation.transpose(1, 2) + placed.translation[:, None]
    depth = points[..., 2:]
    perspective = camera.projection == "perspective"
    if perspective:
        # Its near clipping undoes this division, so z must keep its sign and may not be 0.
        divisor = torch.where(depth.abs() < 1e-6, torch.where(depth < 0, -1e-6, 1e-6), depth)
        image = points[..., :2] / divisor * placed.focal[:, None] + placed.principal[:, None]
        depth = divisor
    else:
        image = points[..., :2] * placed.focal[:, None] + placed.principal[:, None]
    screen = torch.cat([-image, depth], dim=-1)
    if faces.shape[0] == 0:
        shape = (len(camera), image_px, image_px, faces_per_pixel)
        padding = screen.new_full(shape, -1.0)
        return Fragments(padding.long(), padding, padding[..., None].expand(*shape, 3).clone(), padding.clone())
    meshes = Meshes(verts=list(screen), faces=[faces.long()] * len(camera))
    pix_to_face, zbuf, bary, dists = rasterize_meshes(
        meshes,
        image_size=image_px,
        blur_radius=blur_radius,
        faces_per_pixel=faces_per_pixel,
        perspective_correct=perspective,
        clip_barycentric_coords=blur_radius > 0,
        z_clip_value=NEAR,
    )
    # It counts faces through the whole batch; ours count within each mesh.
    offset = torch.arange(len(camera), device=pix_to_face.device)[:, None, None, None] * faces.shape[0]
    return Fragments(torch.where(pix_to_face >= 0, pix_to_face - offset, pix_to_face), zbuf, bary, dists)
