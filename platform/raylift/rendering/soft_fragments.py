"""A soft view by PyTorch3D and torch: used on a GPU, and as the reference of tests on any device."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.device_copies import constant
from raylift.rendering.fragments import Fragments
from raylift.rendering.soft_blend import BlendWeights, SoftBlend, blend_weights, face_pixel_sums
from raylift.rendering.soft_pytorch3d import rasterize_soft_pytorch3d
from raylift.rendering.soft_silhouette import blur_radius_of


class FragmentFaces:
    """``SoftView``'s faces, as fragments of PyTorch3D in float32, with their weights.

    Fragments carry the gradient to the screen, so each further screen that a view is shaded along is rasterised anew.
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
        self.screen, self.blend, self.faces = screen, blend, faces.to(screen.device).long()
        self.settings = image_px, faces_per_pixel, blur_radius_of(blend.sigma), perspective
        self._last: tuple[Tensor, Fragments, BlendWeights] | None = None

    def seen_along(self, screen: Float[Tensor, "B V 3"]) -> tuple[Fragments, BlendWeights]:
        """Fragments and weights with gradients to this screen; those of the last one are kept."""
        if self._last is None or self._last[0] is not screen:
            # Kept with their gradient whoever asks first.
            with torch.enable_grad():
                fragments = rasterize_soft_pytorch3d(screen, self.faces, *self.settings)
                self._last = screen, fragments, blend_weights(fragments, self.blend)
        return self._last[1], self._last[2]

    def nearest(self) -> Int[Tensor, "B H W"]:
        return self.seen_along(self.screen)[0].pix_to_face[..., 0]

    def texture(
        self,
        screen: Float[Tensor, "B V 3"],
        corner_uvs: Float[Tensor, "F 3 2"],
        texture: Float[Tensor, "T C Ht Wt"],
        background: list[float],
    ) -> Float[Tensor, "B C H W"]:
        fragments, weights = self.seen_along(screen)
        uv = torch.einsum("bhwki,bhwkic->bhwkc", fragments.bary_coords, corner_uvs[fragments.pix_to_face.clamp(min=0)])
        batch, height, width, faces_per_pixel = weights.faces.shape
        grid = (uv * constant([2, -2], uv) + constant([-1, 1], uv)).reshape(batch, height, width * faces_per_pixel, 2)
        colors = torch.nn.functional.grid_sample(
            for_each(texture, batch), grid, padding_mode="border", align_corners=False
        )
        faces_color = (colors.reshape(batch, -1, height, width, faces_per_pixel) * weights.faces[:, None]).sum(-1)
        return faces_color + weights.background[:, None] * constant(background, faces_color)[:, None, None]

    def corners(
        self,
        screen: Float[Tensor, "B V 3"],
        corner_rows: Int[Tensor, "F 3"],
        values: Float[Tensor, "T N C"],
        background: list[float],
    ) -> Float[Tensor, "B C H W"]:
        fragments, weights = self.seen_along(screen)
        batch = len(screen)
        image = torch.arange(batch, device=screen.device)[:, None, None, None]
        corners = for_each(values, batch)[:, corner_rows.to(values.device)][image, fragments.pix_to_face.clamp(min=0)]
        faces_color = torch.einsum("bhwk,bhwki,bhwkic->bchw", weights.faces, fragments.bary_coords, corners)
        return faces_color + weights.background[:, None] * constant(background, faces_color)[:, None, None]

    def face_sums(self, nearest_faces: int | None) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F 2"]]:
        fragments, weights = self.seen_along(self.screen)
        shares = weights.faces[..., :nearest_faces].detach()
        return face_pixel_sums(fragments.pix_to_face[..., :nearest_faces], shares, len(self.faces))


def for_each(values: Tensor, batch: int) -> Tensor:
    """Repeat T sets of values to one per image; each serves B / T consecutive images."""
    if len(values) in (1, batch):
        return values.expand(batch, *values.shape[1:])
    return values.repeat_interleave(batch // len(values), dim=0)
