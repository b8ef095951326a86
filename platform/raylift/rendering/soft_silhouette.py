"""The soft silhouette, fused: coverage of every pixel from all faces at once, without a list of the nearest K."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_boxes import image_boxes, num_bands
from raylift.rendering.silhouette_kernels import BLOCK, RUN_FACES, band_transmittances, gather_corners, run_gradients
from raylift.rendering.triangles import check_image_px

LEAST_COVERAGE = 1e-4
"""Coverage by one face below which a pixel is unaffected (SoftRas's and PyTorch3D's blur radius)."""


def blur_radius_of(sigma: float, least_coverage: float = LEAST_COVERAGE) -> float:
    """Squared distance at which a face's coverage sigmoid(-d / sigma) falls to ``least_coverage``.

    Raises:
        DataError: sigma is not above 0.
    """
    if not 0 < sigma < math.inf:
        raise DataError(f"sigma is {sigma}", "use a softness above 0, such as 1e-4")
    return math.log(1 / least_coverage - 1) * sigma


def soft_silhouette(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    image_px: int,
    sigma: float = 1e-4,
    blur_radius: float | None = None,
    faces_per_pixel: int = 100,
) -> Float[Tensor, "B H W"]:
    """Probability that a pixel is covered: 1 - prod_f (1 - sigmoid(-d_f / sigma)) (SoftRas, ICCV 2019, eqs. 1, 4).

    d_f is the squared distance from the pixel's centre to face f's boundary, negative inside. It equals PyTorch3D's
    ``sigmoid_alpha_blend`` with faces_per_pixel as large as the most faces over one pixel. Gradients reach u and v;
    depth does not matter, but faces with a corner at z < 1e-8 and faces of a doubled screen area of 1e-8 or less are
    left out. Compiled on the CPU, in float32 or float64: one thread does it, or as many as torch may use, to the same
    bits. On a GPU PyTorch3D does it, in float32, with a list of faces.

    Args:
        screen: (u, v, z) from ``project_to_screen``; their device selects the implementation.
        sigma: softness, in squared normalised coordinates.
        blur_radius: squared distance beyond which a face has no effect; ``blur_radius_of(sigma)`` by default.
        faces_per_pixel: on a GPU, largest number of faces per pixel (PyTorch3D allows at most 150).

    Raises:
        DataError: faces that refer to no vertex, or impossible sizes.
    """
    check_image_px(image_px)
    reach = blur_radius_of(sigma) if blur_radius is None else blur_radius
    if not 0 <= reach < math.inf:
        raise DataError(f"blur_radius is {reach}", "use a squared distance of 0 or more")
    if screen.device.type != "cpu":
        from raylift.rendering.soft_pytorch3d import silhouette_pytorch3d

        return silhouette_pytorch3d(screen, faces, image_px, sigma, reach, faces_per_pixel)
    blur_radius_of(sigma)
    coverage: Tensor = _Silhouette.apply(screen, face_array(faces, screen.shape[1]), image_px, sigma, reach)
    return coverage


def face_array(faces: Int[Tensor, "F 3"], num_vertices: int) -> np.ndarray:
    """Convert faces to contiguous int64 for kernels, with every index checked.

    Raises:
        DataError: a face refers to a missing vertex.
    """
    array = np.ascontiguousarray(faces.detach().cpu().numpy(), np.int64)
    if array.size and (int(array.min()) < 0 or int(array.max()) >= num_vertices):
        raise DataError(
            f"faces refer to vertices {int(array.min())}..{int(array.max())}, the mesh has {num_vertices}",
            "indices count from 0; repair the mesh, or leave it out",
        )
    return array


class _Silhouette(torch.autograd.Function):
    """The kernels as one differentiable function, without second derivatives."""

    @staticmethod
    def forward(ctx: Any, screen: Tensor, faces: np.ndarray, image_px: int, sigma: float, blur_radius: float) -> Tensor:
        points = screen.detach().contiguous()
        batch = points.shape[0]
        transmittance = points.new_empty(batch, image_px, image_px)
        boxes = np.empty((batch, len(faces), 4), np.int32)
        run_tasks(image_boxes, batch, points.numpy(), faces, image_px, blur_radius, boxes)
        bands = num_bands(batch, image_px)
        out = transmittance.numpy()
        run_tasks(band_transmittances, batch * bands, bands, points.numpy(), faces, boxes, sigma, blur_radius, out)
        ctx.save_for_backward(points, transmittance)
        ctx.settings = faces, sigma, blur_radius, boxes
        return 1 - transmittance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, transmittance = ctx.saved_tensors
        faces, sigma, blur_radius, boxes = ctx.settings
        batch, runs = points.shape[0], max(1, -(-len(faces) // RUN_FACES))
        # With room for the last block of pixels.
        grad_transmittance = torch.nn.functional.pad(gradient * transmittance, (0, BLOCK)).numpy()
        corners = np.empty((batch, len(faces), 6))
        vertices = np.zeros(points.shape)
        run_tasks(
            run_gradients,
            batch * runs,
            runs,
            points.numpy(),
            faces,
            boxes,
            sigma,
            blur_radius,
            grad_transmittance,
            corners,
        )
        run_tasks(gather_corners, batch, faces, corners, vertices)
        return torch.from_numpy(vertices).to(points.dtype), None, None, None, None
