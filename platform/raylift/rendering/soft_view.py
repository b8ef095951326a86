"""Meshes as cameras see them, rasterised once and shaded any number of times: SoftRas's aggregation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering.soft_blend import SoftBlend
from raylift.rendering.soft_fragments import FragmentFaces
from raylift.rendering.soft_listed import ListedFaces
from raylift.rendering.triangles import check_image_px


class SoftView:
    """B meshes of one topology on the screen, whose faces at each pixel are searched once, when first asked for.

    Gradients of every picture reach ``screen``; which faces are seen has none.

    On the CPU compiled kernels search and shade, in float32 or float64, to the same bits for any number of threads.
    They keep 4 bytes for each of the K faces at a pixel, and measure the faces again for the gradient. On a GPU
    PyTorch3D rasterises, in float32, and torch shades: some 100 bytes per pixel and face.

    The rules are PyTorch3D's: equal depths go to the lower face index; at equal distance from two edges the gradient
    takes the first of 01, 02, 12; faces with a corner at z < 1e-8 are left out (nothing is cut at a near plane), as are
    those of a doubled screen area of 1e-8 or less; edges of a squared length of 1e-8 or less count as their second
    corner. Weights of corners are clipped to the face.

    Args:
        screen: (u, v, z) from ``project_to_screen``; their device selects the implementation.
        faces: faces of every mesh.
        image_px: side of the images.
        faces_per_pixel: K: the nearest faces count, out to the blur radius of ``blend.sigma``.
        blend: softness of the image.
        perspective: whether weights are corrected for perspective; else they are those on the screen.

    Raises:
        DataError: faces that refer to no vertex, or impossible sizes.
    """

    def __init__(
        self,
        screen: Float[Tensor, "B V 3"],
        faces: Int[Tensor, "F 3"],
        image_px: int,
        faces_per_pixel: int = 8,
        blend: SoftBlend | None = None,
        perspective: bool = True,
    ) -> None:
        check_image_px(image_px)
        if faces_per_pixel < 1:
            raise DataError(f"faces_per_pixel is {faces_per_pixel}", "use at least 1")
        self.screen, self.faces = screen, faces
        source = ListedFaces if screen.device.type == "cpu" else FragmentFaces
        self.source: ListedFaces | FragmentFaces = source(
            screen, faces, image_px, faces_per_pixel, blend or SoftBlend(), perspective
        )

    @property
    def nearest_faces(self) -> Int[Tensor, "B H W"]:
        """The nearest face at each pixel, -1 for none."""
        return self.source.nearest()

    def along(self, screen: Float[Tensor, "B V 3"]) -> SoftView:
        """The same view with other gradients, or none.

        Args:
            screen: of the same values, such as ``view.screen.detach()``.
        """
        other = SoftView.__new__(SoftView)
        other.screen, other.faces, other.source = screen, self.faces, self.source
        return other

    def texture(
        self,
        corner_uvs: Float[Tensor, "F 3 2"],
        texture: Float[Tensor, "T C Ht Wt"],
        background: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Float[Tensor, "B C H W"]:
        """The image with this texture, bilinear, clamped at its border (Liu et al. 2019, eq. 2).

        Args:
            corner_uvs: (0, 0) is the texture's bottom-left; without gradient.
            texture: first row on top. Each of T textures serves B / T consecutive meshes.
            background: a value for each channel.

        Raises:
            DataError: sizes that do not fit, or a texture without texels.
        """
        if 0 in texture.shape[2:]:
            raise DataError(f"the texture has shape {tuple(texture.shape)}", "use at least one texel")
        self._check(len(texture), texture.shape[1], background)
        return self.source.texture(self.screen, corner_uvs, texture, list(background))

    def vertices(
        self, values: Float[Tensor, "T V C"], background: Sequence[float] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """Interpolate vertex values on faces: colours, or part probabilities (F_r(V_seg, cam) of equation 14).

        Args:
            values: each of T sets serves B / T consecutive meshes.
            background: a value for each channel, 0 by default.

        Raises:
            DataError: sizes that do not fit.
        """
        background_color = background if background is not None else [0.0] * values.shape[2]
        self._check(len(values), values.shape[2], background_color)
        return self.source.corners(self.screen, self.faces, values, list(background_color))

    def corners(
        self, values: Float[Tensor, "T F 3 C"], background: Sequence[float] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """``vertices`` for values per face corner, so that neighbours may differ along an edge."""
        background_color = background if background is not None else [0.0] * values.shape[3]
        self._check(len(values), values.shape[3], background_color)
        rows = torch.arange(3 * len(self.faces), device=self.faces.device).reshape(-1, 3)
        return self.source.corners(self.screen, rows, values.flatten(1, 2), list(background_color))

    def face_sums(self, nearest_faces: int | None = None) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F 2"]]:
        """Per face, the sum over pixels of its share of them, and of its share times the pixels' (u, v).

        The pseudo-label of the texture flow is their ratio (adaptive-gradient paper, equation 12). Constants.

        Args:
            nearest_faces: how many of a pixel's faces count, nearest first; all by default.
        """
        return self.source.face_sums(nearest_faces)

    def _check(self, sets: int, channels: int, background: Sequence[float]) -> None:
        batch = len(self.screen)
        if not sets or batch % sets:
            raise DataError(f"{sets} textures or sets of values for {batch} meshes", "pass one for all or one for each")
        if len(background) != channels:
            raise DataError(
                f"a background of {len(background)} values behind {channels} channels", "pass one for each channel"
            )
