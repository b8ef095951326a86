"""UV fragments: the surface coordinate that each pixel of a posed mesh shows (DMNT, appendix A.1).

They connect images with a surface: features of pixels are carried to texels (``surface_transform``), and texels are
read at pixels. Poses and shapes are fitted by their exact gradients.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.kernel_threads import run_tasks
from raylift.core.types import Camera
from raylift.geometry.cameras import pixel_centers, to_camera_axes
from raylift.rendering.screen import project_to_screen
from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d
from raylift.rendering.triangles import check_image_px, check_mesh, project_triangles
from raylift.rendering.zbuffer import fill_nearest


@dataclass(frozen=True)
class UvFragments:
    """What each pixel centre of B views shows of its mesh.

    Attributes:
        uv: coordinate in the mesh's chart, (0, 0) where nothing is hit. With gradients.
        mask: whether the mesh is hit.
        depth: z in camera axes, world units, 0 where nothing is hit. With gradients.
        face: index of the face, -1 where nothing is hit.
    """

    uv: Float[Tensor, "B H W 2"]
    mask: Bool[Tensor, "B H W"]
    depth: Float[Tensor, "B H W"]
    face: Int[Tensor, "B H W"]


def uv_fragments(
    vertices: Float[Tensor, "M V 3"],
    faces: Int[Tensor, "F 3"],
    corner_uvs: Float[Tensor, "F 3 2"],
    camera: Camera,
    image_px: int,
) -> UvFragments:
    """Rasterise B meshes of one topology and interpolate the UVs of their corners.

    The ray of a pixel's centre is intersected with the nearest face, so UVs are perspective-correct. Exact gradients of
    ``uv`` and ``depth`` reach vertices, ``corner_uvs`` and the camera's focal, principal, rotation and translation.
    Which face a pixel shows is a constant: silhouettes have no gradient here. Both sides of a face are drawn.

    Coordinates are computed in float64, and returned in the vertices' type, at least float32. On a GPU PyTorch3D finds
    the faces: it leaves out those with a corner behind the camera, which the CPU cuts at the near plane.

    Args:
        vertices: world positions; M is B, or 1 for one mesh that all cameras see.
        corner_uvs: coordinates of each face's corners in the chart, the same for all meshes.
        camera: B cameras, perspective or orthographic.
        image_px: side of the image in pixels.

    Raises:
        DataError: a mesh that cannot be indexed, values that are not finite, or impossible sizes.
    """
    check_image_px(image_px)
    _check(vertices, faces, corner_uvs, camera)
    device, dtype = vertices.device, torch.promote_types(vertices.dtype, torch.float32)
    with torch.autocast(device.type, enabled=False):
        camera, positions = camera.to(device, torch.float64), vertices.double().expand(len(camera), -1, -1)
        faces = faces.to(device).long()
        face = _visible_faces(positions.detach(), faces, camera, image_px)
        image, row, column = torch.nonzero(face >= 0, as_tuple=True)
        picked = face[image, row, column]
        corners = _gather(_homogeneous(camera, positions), faces[picked], image)
        pixels = pixel_centers(image_px, image_px, device, torch.float64)[row, column]
        weights, hit = ray_weights(corners, pixels, camera.projection == "perspective")
        uv = (weights[..., None] * corner_uvs.to(device, torch.float64)[picked]).sum(dim=1)
        depth = (weights * corners[..., 2]).sum(dim=1)
    face = face.index_put((image, row, column), torch.where(hit, picked, -1))
    blank = torch.zeros(*face.shape, 3, dtype=dtype, device=device)
    values = torch.where(hit[:, None], torch.cat([uv, depth[:, None]], dim=1), 0.0).to(dtype)
    filled = blank.index_put((image, row, column), values)
    return UvFragments(filled[..., :2], face >= 0, filled[..., 2], face)


def ray_weights(
    corners: Float[Tensor, "P 3 3"], pixels: Float[Tensor, "P 2"], perspective: bool
) -> tuple[Float[Tensor, "P 3"], Bool[Tensor, "P"]]:
    """Barycentric weights of the points where rays of pixels meet the planes of faces.

    With q_i = (x_i, y_i) - z_i (u, v) the corners' offsets from the ray, in its own plane, the weights are proportional
    to q_1 x q_2, q_2 x q_0 and q_0 x q_1. This is the ray's determinant with two corners, written so that nothing large
    cancels. Nothing is divided by a depth, so corners may be behind the camera.

    Args:
        corners: (focal x + principal z, z); for orthographic views (focal x + principal, z).
        pixels: (u, v), normalised.

    Returns:
        Weights that sum to 1, and whether they exist: a face seen exactly from its edge has none.
    """
    offsets = corners[..., :2] - pixels[:, None] * (corners[..., 2:] if perspective else 1.0)
    following, last = offsets.roll(-1, dims=1), offsets.roll(-2, dims=1)
    areas = following[..., 0] * last[..., 1] - following[..., 1] * last[..., 0]
    total = areas.sum(dim=1, keepdim=True)
    exists = total != 0
    return areas / torch.where(exists, total, 1.0), exists.squeeze(1)


def _homogeneous(camera: Camera, vertices: Float[Tensor, "B V 3"]) -> Float[Tensor, "B V 3"]:
    """(u z, v z, z) of every vertex, or (u, v, z) for orthographic cameras."""
    points = to_camera_axes(camera, vertices)
    plane, depth = points[..., :2], points[..., 2:]
    scale = depth if camera.projection == "perspective" else 1.0
    return torch.cat([plane * camera.focal[:, None] + camera.principal[:, None] * scale, depth], dim=-1)


def _gather(values: Float[Tensor, "B V 3"], corners: Int[Tensor, "P 3"], image: Int[Tensor, "P"]) -> Tensor:
    """Values [P, 3, 3] of the corners of a face of each image."""
    rows = corners + image[:, None] * values.shape[1]
    return values.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def _visible_faces(
    vertices: Float[Tensor, "B V 3"], faces: Int[Tensor, "F 3"], camera: Camera, image_px: int
) -> Int[Tensor, "B H W"]:
    """The nearest face at each pixel centre, -1 for none."""
    if vertices.device.type != "cpu":
        screen, perspective = project_to_screen(vertices, camera), camera.projection == "perspective"
        return rasterize_soft_pytorch3d(screen, faces, image_px, 1, 0.0, perspective).pix_to_face[..., 0]
    found = np.full((len(vertices), image_px, image_px), -1, np.int64)
    if len(faces):
        run_tasks(_fill_images, len(vertices), vertices.numpy(), faces.numpy(), camera, found)
    return torch.from_numpy(found)


def _fill_images(
    first: int, end: int, vertices: np.ndarray, faces: np.ndarray, camera: Camera, found: np.ndarray
) -> None:
    """Write the nearest faces of images [first, end) to ``found`` [B, H, W], which is -1."""
    for image in range(first, end):
        screen = project_triangles(vertices[image], faces, camera[image])
        if len(screen.face):
            _, triangle = fill_nearest(screen.corners, found.shape[1], camera.projection == "perspective", 0.0)
            found[image] = np.where(triangle >= 0, screen.face[triangle], -1)


def _check(vertices: Tensor, faces: Tensor, corner_uvs: Tensor, camera: Camera) -> None:
    if len(vertices) not in (1, len(camera)):
        raise DataError(f"{len(vertices)} meshes do not fit {len(camera)} cameras", "pass one mesh, or one per camera")
    if corner_uvs.shape != (*faces.shape, 2):
        raise DataError(
            f"corner_uvs of shape {tuple(corner_uvs.shape)} do not fit {len(faces)} faces", "pass them as [F, 3, 2]"
        )
    if vertices.device.type != "cpu":
        return  # reading values back would stall the device
    check_mesh(vertices.detach().flatten(0, 1).double().numpy(), faces.cpu().numpy())
    if len(faces) and int(faces.max()) >= vertices.shape[1]:
        raise DataError(
            f"faces refer to vertex {int(faces.max())}, each mesh has {vertices.shape[1]}", "indices count from 0"
        )
    parts = (corner_uvs, camera.focal, camera.principal, camera.rotation, camera.translation)
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise DataError(
            "a camera or a UV is not finite", "a diverged pose gives such values: use a lower learning rate"
        )
