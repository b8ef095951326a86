"""Meshes as cameras see them, rasterised once and shaded any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering.fragments import Fragments
from raylift.rendering.soft_aggregate import aggregate_attributes, aggregate_texture
from raylift.rendering.soft_blend import BlendWeights, SoftBlend, blend_weights, face_pixel_sums
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of


@dataclass(frozen=True)
class SoftView:
    """B meshes of one topology on the screen: which faces each pixel sees, and how they are shaded.

    Faces are searched once. Every shading adds its own gradient to the screen.

    Attributes:
        screen: (u, v, z) as ``project_to_screen`` gives them; their device decides who rasterises.
        faces: of every mesh.
        image_px: of the pictures.
        faces_per_pixel: K: the nearest faces count, out to the blur radius of ``blend.sigma``.
        blend: softness.
        perspective: whether the camera is; see ``rasterize_soft``.
    """

    screen: Float[Tensor, "B V 3"]
    faces: Int[Tensor, "F 3"]
    image_px: int
    faces_per_pixel: int = 8
    blend: SoftBlend = field(default_factory=SoftBlend)
    perspective: bool = True

    @cached_property
    def fragments(self) -> Fragments:
        """The faces at each pixel, with gradients to the screen."""
        radius = blur_radius_of(self.blend.sigma)
        return rasterize_soft(self.screen, self.faces, self.image_px, self.faces_per_pixel, radius, self.perspective)

    @cached_property
    def weights(self) -> BlendWeights:
        """Shares of each pixel's colour, with gradients to the screen."""
        return blend_weights(self.fragments, self.blend)

    @property
    def alpha(self) -> Float[Tensor, "B H W"]:
        """Coverage in [0, 1] by the same K faces. ``soft_silhouette`` counts them all."""
        return self.weights.alpha

    @property
    def nearest_faces(self) -> Int[Tensor, "B H W"]:
        """The nearest face at each pixel, -1 for none."""
        return self.fragments.pix_to_face[..., 0]

    def along(self, screen: Float[Tensor, "B V 3"]) -> SoftView:
        """The same view with gradients by another way, or none.

        Args:
            screen: of the same values, such as ``view.screen.detach()``.
        """
        return replace(self, screen=screen)

    def texture(
        self,
        corner_uvs: Float[Tensor, "F 3 2"],
        texture: Float[Tensor, "T C Ht Wt"],
        background: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Float[Tensor, "B C H W"]:
        """The picture with this texture (SoftRas, eq. 2); gradients reach texture and screen.

        Args:
            corner_uvs: (0, 0) is the texture's bottom-left; without gradient.
            texture: first row on top. Each of T textures serves B / T consecutive meshes.
            background: a value for each channel.

        Raises:
            DataError: sizes that do not fit.
        """
        texture = _for_each(texture, self.screen)
        own = aggregate_texture(self.fragments, self.weights.faces, corner_uvs, texture)
        return _composited(own, self.weights, background)

    def vertices(
        self,
        values: Float[Tensor, "T V C"],
        background: Sequence[float] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """What vertices carry, interpolated on faces: colours, or part probabilities (F_r(V_seg, cam) of equation 14).

        Args:
            values: each of T sets serves B / T consecutive meshes.
            background: a value for each channel, 0 by default.

        Raises:
            DataError: sizes that do not fit.
        """
        return self.corners(values[:, self.faces.to(values.device).long()], background)

    def corners(
        self,
        values: Float[Tensor, "T F 3 C"],
        background: Sequence[float] | None = None,
    ) -> Float[Tensor, "B C H W"]:
        """``vertices`` for values that corners of faces carry, so that neighbours may differ along an edge."""
        values = _for_each(values, self.screen)
        behind = background if background is not None else [0.0] * values.shape[-1]
        own = aggregate_attributes(self.fragments, self.weights.faces, values)
        return _composited(own, self.weights, behind)

    def face_sums(self, num_layers: int | None = None) -> tuple[Float[Tensor, "B F"], Float[Tensor, "B F 2"]]:
        """Per face, the sum over pixels of its weights, and of its weights times the pixels' (u, v).

        The pseudo-label of the texture flow is their ratio (adaptive-gradient paper, equation 12). Gradients reach the
        screen.

        Args:
            num_layers: how many of a pixel's faces count, nearest first; all by default.
        """
        index, weights = self.fragments.pix_to_face[..., :num_layers], self.weights.faces[..., :num_layers]
        return face_pixel_sums(index, weights, len(self.faces))


def _for_each(values: Tensor, screen: Tensor) -> Tensor:
    """One set of values a mesh."""
    batch, sets = screen.shape[0], values.shape[0]
    if sets == batch:
        return values
    if not sets or batch % sets:
        raise DataError(f"{sets} textures or sets of values for {batch} meshes", "give one for all or one each")
    if sets == 1:
        return values.expand(batch, *values.shape[1:])
    return values.repeat_interleave(batch // sets, dim=0)


def _composited(own: Tensor, weights: BlendWeights, background: Sequence[float]) -> Tensor:
    if len(background) != own.shape[1]:
        raise DataError(
            f"a background of {len(background)} values behind {own.shape[1]} channels", "give one for each channel"
        )
    behind = own.new_tensor(list(background))[None, :, None, None]
    return own + weights.background[:, None] * behind
