"""Soft rasterisation: the K nearest faces at each pixel, differentiable by way of depth, weights and distance."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering.face_boxes import BAND_ROWS, image_boxes
from raylift.rendering.fragment_kernels import NUM_BANDS, band_fragments, band_gradients
from raylift.rendering.fragments import Fragments
from raylift.rendering.kernel_threads import run_tasks
from raylift.rendering.soft_silhouette import face_array
from raylift.rendering.triangles import check_image_px


def rasterize_soft(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    faces_per_pixel: int = 8,
    blur_radius: float = 0.0,
    perspective: bool = True,
) -> Fragments:
    """What PyTorch3D's ``rasterize_meshes`` gives for these meshes, with the same gradients; faces count in each mesh.

    Gradients reach ``screen`` from zbuf, bary_coords and dists; which faces are seen has none. Values are those of
    PyTorch3D's CPU path to the bit. So are the rules: a pixel centre on an edge is outside; equal depths go to the
    lower face index; at equal distance from two edges the gradient takes the first of 01, 02, 12; faces with a corner
    at z < 1e-8 are left out (nothing is cut at a near plane), as are those of a doubled screen area of 1e-8 or less;
    edges of a squared length of 1e-8 or less count as their second corner; 1e-8 is added to the area that screen
    weights are divided by.

    One thing differs: where a blurred face is felt beyond the horizon of its own plane, PyTorch3D's gradient of zbuf
    and bary_coords is rounding noise that can outweigh all else; here it is the derivative of the value.

    Compiled on the CPU, in float32 or float64, to the same bits for any number of threads; by PyTorch3D on a GPU.

    Args:
        screen: (u, v, z) as ``project_to_screen`` gives them; their device decides who rasterises.
        faces_per_pixel: K.
        blur_radius: squared distance in normalised coordinates up to which a face covers pixels outside of it too; with
            it, weights are clipped to the face.
        perspective: weights are corrected for perspective; else they are those on the screen.

    Raises:
        DataError: faces that refer to no vertex, or sizes that cannot be meant.
    """
    check_image_px(image_px)
    if faces_per_pixel < 1 or not 0 <= blur_radius < math.inf:
        raise DataError(
            f"faces_per_pixel {faces_per_pixel}, blur_radius {blur_radius}",
            "give at least 1 face and a blur of 0 or more",
        )
    if screen.device.type != "cpu":
        from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d

        return rasterize_soft_pytorch3d(screen, faces, image_px, faces_per_pixel, blur_radius, perspective)
    array = face_array(faces, screen.shape[1])
    return Fragments(*_Rasterize.apply(screen, array, image_px, faces_per_pixel, float(blur_radius), perspective))


class _Rasterize(torch.autograd.Function):
    """The kernels as one differentiable step; its own gradient has none."""

    @staticmethod
    def forward(
        ctx: Any,
        screen: Tensor,
        faces: np.ndarray,
        image_px: int,
        faces_per_pixel: int,
        blur_radius: float,
        perspective: bool,
    ) -> tuple[Tensor, ...]:
        points = screen.detach().contiguous()
        batch = points.shape[0]
        shape = (batch, image_px, image_px, faces_per_pixel)
        pix_to_face = torch.empty(shape, dtype=torch.int64)
        zbuf, dists, bary = points.new_empty(shape), points.new_empty(shape), points.new_empty(*shape, 3)
        boxes = np.empty((batch, len(faces), 4), np.int32)
        run_tasks(image_boxes, batch, points.numpy(), faces, image_px, blur_radius, boxes)
        bands = -(-image_px // BAND_ROWS)
        arrays = [part.numpy() for part in (pix_to_face, zbuf, bary, dists)]
        run_tasks(band_fragments, batch * bands, bands, points.numpy(), faces, boxes, blur_radius, perspective, *arrays)
        ctx.save_for_backward(points, pix_to_face)
        ctx.settings = faces, blur_radius > 0, perspective
        ctx.mark_non_differentiable(pix_to_face)
        return pix_to_face, zbuf, bary, dists

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, _: Tensor, grad_zbuf: Tensor, grad_bary: Tensor, grad_dists: Tensor
    ) -> tuple[Tensor | None, ...]:
        points, pix_to_face = ctx.saved_tensors
        faces, clip, perspective = ctx.settings
        batch = points.shape[0]
        bands = min(max(1, NUM_BANDS // max(batch, 1)), pix_to_face.shape[1])
        vertices = np.zeros((batch * bands, *points.shape[1:]))
        arrays = [part.contiguous().numpy() for part in (pix_to_face, grad_zbuf, grad_bary, grad_dists)]
        run_tasks(band_gradients, batch * bands, bands, points.numpy(), faces, clip, perspective, *arrays, vertices)
        total = vertices.reshape(batch, bands, *points.shape[1:]).sum(1)
        return torch.from_numpy(total).to(points.dtype), None, None, None, None, None
