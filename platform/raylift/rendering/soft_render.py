"""Soft pictures of meshes: SoftRas's aggregation of textures, or of anything that vertices carry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from raylift.core.errors import DataError
from raylift.rendering.fragments import Fragments
from raylift.rendering.soft_aggregate import aggregate_attributes, aggregate_texture
from raylift.rendering.soft_blend import BlendWeights, SoftBlend, blend_weights
from raylift.rendering.soft_rasterize import rasterize_soft
from raylift.rendering.soft_silhouette import blur_radius_of

CHUNK_FRAGMENTS = 1 << 20
"""Without ``keep_fragments`` images are rendered so many fragments (pixels times K) at a time, one image at least."""


@dataclass(frozen=True)
class SoftRendering:
    """Pictures of B meshes.

    Attributes:
        values: colours, or whatever was rendered, composited on the background.
        alpha: coverage in [0, 1], from the same K faces. ``soft_silhouette`` counts them all.
        fragments, weights: faces at each pixel with their shares of it; None where they were not kept.
    """

    values: Float[Tensor, "B C H W"]
    alpha: Float[Tensor, "B H W"]
    fragments: Fragments | None = None
    weights: BlendWeights | None = None


def render_soft_texture(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    corner_uvs: Float[Tensor, "F 3 2"],
    texture: Float[Tensor, "#B C Ht Wt"],
    image_px: int,
    faces_per_pixel: int = 8,
    blend: SoftBlend | None = None,
    background: Sequence[float] = (1.0, 1.0, 1.0),
    perspective: bool = True,
    keep_fragments: bool = True,
    moves_screen: bool = True,
) -> SoftRendering:
    """Textured meshes by SoftRas's softmax (Liu et al. 2019, eq. 2); gradients reach texture and screen.

    Memory is about 100 bytes a fragment (pixel times K, covered or not) until the backward pass is done, in float32.
    Measured for 16 images: at 64 x 64, 55 MB with K = 8 and 190 MB with K = 30; at 256 x 256, 0.8 GB with K = 8 and so
    3 GB with K = 30. Without ``keep_fragments`` chunks of images are rendered again in the backward pass: the last case
    then takes 0.4 GB. (glibc's allocator hoards what is freed, 1.9 GB there, unless the process is started with
    MALLOC_MMAP_THRESHOLD_=1000000.)

    Args:
        screen: (u, v, z) as ``project_to_screen`` gives them.
        corner_uvs: (0, 0) is the texture's bottom-left; without gradient.
        texture: first row on top; a batch of 1 serves all images.
        faces_per_pixel: K: the nearest faces count, out to the blur radius of ``blend.sigma``.
        background: a value for each channel.
        perspective: whether the camera is; see ``rasterize_soft``.
        moves_screen: gradients of the picture reach the screen, too. Those of alpha, fragments and weights always do.

    Raises:
        DataError: sizes that do not fit, or faces that refer to no vertex.
    """
    texture = _for_batch(texture, screen)

    def aggregate(fragments: Fragments, weights: Tensor, texture: Tensor) -> Tensor:
        return aggregate_texture(fragments, weights, corner_uvs, texture)

    return _render(
        aggregate,
        screen,
        faces,
        texture,
        image_px,
        faces_per_pixel,
        blend,
        background,
        perspective,
        keep_fragments,
        moves_screen,
    )


def render_soft_vertices(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    vertex_values: Float[Tensor, "#B V C"],
    image_px: int,
    faces_per_pixel: int = 8,
    blend: SoftBlend | None = None,
    background: Sequence[float] | None = None,
    perspective: bool = True,
    keep_fragments: bool = True,
) -> SoftRendering:
    """What vertices carry, interpolated on faces: colours, or the part probabilities F_r(V_seg, cam) of equation 14.

    Arguments, memory and errors are those of ``render_soft_texture``; the background is 0 by default.
    """
    values = _for_batch(vertex_values, screen)

    def aggregate(fragments: Fragments, weights: Tensor, values: Tensor) -> Tensor:
        return aggregate_attributes(fragments, weights, values[:, faces.to(values.device).long()])

    behind = background if background is not None else [0.0] * values.shape[-1]
    return _render(
        aggregate, screen, faces, values, image_px, faces_per_pixel, blend, behind, perspective, keep_fragments
    )


def render_soft_corners(
    screen: Float[Tensor, "B V 3"],
    faces: Int[Tensor, "F 3"],
    corner_values: Float[Tensor, "#B F 3 C"],
    image_px: int,
    faces_per_pixel: int = 8,
    blend: SoftBlend | None = None,
    background: Sequence[float] | None = None,
    perspective: bool = True,
    keep_fragments: bool = True,
) -> SoftRendering:
    """``render_soft_vertices`` for values that corners of faces carry, so that neighbours may differ along an edge."""
    values = _for_batch(corner_values, screen)
    behind = background if background is not None else [0.0] * values.shape[-1]
    return _render(
        aggregate_attributes,
        screen,
        faces,
        values,
        image_px,
        faces_per_pixel,
        blend,
        behind,
        perspective,
        keep_fragments,
    )


def _for_batch(values: Tensor, screen: Tensor) -> Tensor:
    if values.shape[0] not in (1, screen.shape[0]):
        raise DataError(
            f"{values.shape[0]} textures or sets of values for {screen.shape[0]} meshes", "give one for all or one each"
        )
    return values.expand(screen.shape[0], *values.shape[1:])


def _render(
    aggregate: Callable[[Fragments, Tensor, Tensor], Tensor],
    screen: Tensor,
    faces: Tensor,
    values: Tensor,
    image_px: int,
    faces_per_pixel: int,
    blend: SoftBlend | None,
    background: Sequence[float],
    perspective: bool,
    keep_fragments: bool,
    moves_screen: bool = True,
) -> SoftRendering:
    softness = blend or SoftBlend()
    radius = blur_radius_of(softness.sigma)

    def pictures(screen: Tensor, values: Tensor) -> tuple[Tensor, BlendWeights, Fragments]:
        fragments = rasterize_soft(screen, faces, image_px, faces_per_pixel, radius, perspective)
        weights = blend_weights(fragments, softness)
        shares, rest, places = weights.faces, weights.background, fragments
        if not moves_screen:
            shares, rest, places = shares.detach(), rest.detach(), places.detached()
        own = aggregate(places, shares, values)
        if len(background) != own.shape[1]:
            raise DataError(
                f"a background of {len(background)} values behind {own.shape[1]} channels", "give one for each channel"
            )
        behind = own.new_tensor(list(background))[None, :, None, None]
        return own + rest[:, None] * behind, weights, fragments

    if keep_fragments:
        picture, weights, fragments = pictures(screen, values)
        return SoftRendering(picture, weights.alpha, fragments, weights)

    def forgetful(screen: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        picture, weights, _ = pictures(screen, values)
        return picture, weights.alpha

    size = max(1, CHUNK_FRAGMENTS // (image_px * image_px * faces_per_pixel))
    parts: list[tuple[Tensor, Tensor]] = [
        checkpoint(forgetful, *chunk, use_reentrant=False, preserve_rng_state=False)
        for chunk in zip(screen.split(size), values.split(size), strict=True)
    ]
    return SoftRendering(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]))
