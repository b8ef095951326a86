"""Soft rasterisation as constants: the K nearest faces at each pixel, with depth, weights and distance."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_lists import face_lists
from raylift.rendering.fragment_kernels import measure_lists
from raylift.rendering.fragments import Fragments
from raylift.rendering.soft_silhouette import face_array


@torch.no_grad()
def rasterize_soft(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    faces_per_pixel: int = 8,
    blur_radius: float = 0.0,
    perspective: bool = True,
) -> Fragments:
    """Equals PyTorch3D's ``rasterize_meshes`` for these meshes, without gradients; faces count in each mesh.

    Values are those of PyTorch3D's CPU path to the bit, and so are the rules (see ``SoftView``, which is what gradients
    go through). A pixel centre on an edge is outside. Compiled on the CPU; by PyTorch3D on a GPU.

    Args:
        screen: (u, v, z) from ``project_to_screen``; their device selects the rasteriser.
        faces_per_pixel: number K of faces.
        blur_radius: squared distance in normalised coordinates up to which a face covers pixels outside of it too; with
            it, weights are clipped to the face.
        perspective: whether weights are corrected for perspective; else they are those on the screen.

    Raises:
        DataError: faces that refer to no vertex, or impossible sizes.
    """
    if screen.device.type != "cpu":
        from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d

        return rasterize_soft_pytorch3d(screen, faces, image_px, faces_per_pixel, blur_radius, perspective)
    array, points = face_array(faces, screen.shape[1]), screen.contiguous()
    lists = face_lists(points, array, image_px, faces_per_pixel, blur_radius, perspective)
    zbuf = points.new_full(lists.faces.shape, -1.0)
    found = Fragments(
        torch.full_like(zbuf, -1, dtype=torch.int64), zbuf, zbuf[..., None].repeat_interleave(3, -1), zbuf.clone()
    )
    arrays = [part.numpy() for part in (found.pix_to_face, found.zbuf, found.bary_coords, found.dists)]
    run_tasks(measure_lists, len(points), points.numpy(), array, *lists, blur_radius > 0, perspective, *arrays)
    return found
