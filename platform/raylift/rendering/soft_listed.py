"""A soft view on the CPU: compiled kernels search the face lists, and each shading is one differentiable function."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.kernel_threads import run_tasks
from raylift.rendering.face_lists import FaceLists, face_lists
from raylift.rendering.shade_gradient_kernels import shade_gradient
from raylift.rendering.shade_kernels import shade
from raylift.rendering.share_kernels import sum_shares
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_silhouette import blur_radius_of, face_array

NUM_TASKS = 8
"""Parts of a batch that have gradients of their own, at least; more only as there are more textures or images."""


class Paint(NamedTuple):
    """Rows of values of a face's colours.

    Attributes:
        corner_rows: int64 [F, 3]: of each corner; colours are interpolated between them. Empty for a texture.
        corner_uvs: [F, 3, 2] for a texture, whose rows are its texels; else empty.
        height, width: of the texture; else 0.
    """

    corner_rows: np.ndarray
    corner_uvs: np.ndarray
    height: int
    width: int


class ListedFaces:
    """``SoftView``'s faces, searched once by compiled kernels.

    Args:
        screen: on the CPU, in float32 or float64.
        faces: int64 [F, 3].
    """

    def __init__(
        self,
        screen: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        image_px: int,
        faces_per_pixel: int,
        blend: SoftBlend,
        perspective: bool,
    ) -> None:
        self.screen, self.blend, self.perspective = screen, blend, perspective
        self.faces = face_array(faces, screen.shape[1])
        self.sizes = image_px, faces_per_pixel

    @cached_property
    def lists(self) -> FaceLists:
        radius = blur_radius_of(self.blend.sigma)
        return face_lists(self.screen, self.faces, *self.sizes, radius, self.perspective)

    def nearest(self) -> Int[Tensor, "B H W"]:
        lists = self.lists
        return torch.from_numpy(np.where(lists.counts > 0, lists.faces[..., 0], -1).astype(np.int64))

    def texture(
        self,
        screen: Float[Tensor, "B V 3"],
        corner_uvs: Float[Tensor, "F 3 2"],
        texture: Float[Tensor, "T C Ht Wt"],
        background: list[float],
    ) -> Float[Tensor, "B C H W"]:
        uvs = np.ascontiguousarray(corner_uvs.detach().numpy())
        paint = Paint(np.empty((0, 3), np.int64), uvs, *texture.shape[2:])
        return self._shade(screen, paint, texture.permute(0, 2, 3, 1).flatten(1, 2), background)

    def corners(
        self,
        screen: Float[Tensor, "B V 3"],
        corner_rows: Int[Tensor, "F 3"],
        values: Float[Tensor, "T N C"],
        background: list[float],
    ) -> Float[Tensor, "B C H W"]:
        rows = face_array(corner_rows, values.shape[1])
        return self._shade(screen, Paint(rows, np.empty((0, 3, 2)), 0, 0), values, background)

    def face_sums(self, nearest_faces: int | None) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F 2"]]:
        points = self.screen.detach().contiguous()
        counted = self.sizes[1] if nearest_faces is None else nearest_faces
        sums = np.empty((len(points), len(self.faces), 3))
        soft = _softness(self.blend, points)
        run_tasks(
            sum_shares, len(points), points.numpy(), self.faces, *self.lists, soft, self.perspective, counted, sums
        )
        found = torch.from_numpy(sums).to(points.dtype)
        return found[..., 0], found[..., 1:]

    def _shade(self, screen: Tensor, paint: Paint, values: Tensor, background: list[float]) -> Tensor:
        picture: Tensor = _Shade.apply(screen, values, self, paint, background)
        return picture


def _softness(blend: SoftBlend, like: Tensor) -> np.ndarray:
    """The kernels' parameters: 1 / sigma, 1 / (gamma (far - near)), far, background_eps, 1 / gamma."""
    slope = 1 / (blend.gamma * (blend.far - blend.near))
    return np.array([1 / blend.sigma, slope, blend.far, blend.background_eps, 1 / blend.gamma], like.numpy().dtype)


def _num_bands(batch: int, image_px: int) -> int:
    return min(max(1, NUM_TASKS // max(batch, 1)), image_px)


class _Shade(torch.autograd.Function):
    """The kernels as one differentiable function, without second derivatives."""

    @staticmethod
    def forward(
        ctx: Any, screen: Tensor, values: Tensor, source: ListedFaces, paint: Paint, background: list[float]
    ) -> Tensor:
        points, rows = screen.detach().contiguous(), values.detach().to(screen.dtype).contiguous()
        background_color = np.array(background, points.numpy().dtype)
        ctx.save_for_backward(points, rows)
        ctx.source, ctx.dtype = source, values.dtype
        ctx.settings = (
            _softness(source.blend, points),
            source.perspective,
            paint.height > 0,
            paint.corner_rows,
            paint.corner_uvs.astype(background_color.dtype, copy=False),
            paint.height,
            paint.width,
            rows.numpy(),
            background_color,
        )
        size = source.sizes[0]
        picture = points.new_empty(len(points), rows.shape[2], size, size)
        bands = _num_bands(len(points), size)
        arrays = points.numpy(), source.faces, *source.lists, *ctx.settings
        run_tasks(shade, len(points) * bands, bands, *arrays, picture.numpy())
        return picture

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_image: Tensor) -> tuple[Tensor | None, ...]:
        points, rows = ctx.saved_tensors
        batch, sets = len(points), len(rows)
        wants_screen, wants_values = ctx.needs_input_grad[:2]
        groups = min(batch // sets, max(1, NUM_TASKS // sets))
        bands = 1 if groups < batch // sets else _num_bands(batch, ctx.source.sizes[0])
        by_screen = torch.zeros(batch * bands, *points.shape[1:], dtype=torch.float64)
        by_values = torch.zeros(sets * groups * bands, *rows.shape[1:], dtype=torch.float64)
        arrays = points.numpy(), ctx.source.faces, *ctx.source.lists, *ctx.settings, grad_image.contiguous().numpy()
        wanted = wants_screen, wants_values, by_screen.numpy(), by_values.numpy()
        run_tasks(shade_gradient, len(by_values), groups, bands, *arrays, *wanted)
        return (
            by_screen.unflatten(0, (batch, bands)).sum(1).to(points.dtype) if wants_screen else None,
            by_values.unflatten(0, (sets, groups * bands)).sum(1).to(ctx.dtype) if wants_values else None,
            None,
            None,
            None,
        )
