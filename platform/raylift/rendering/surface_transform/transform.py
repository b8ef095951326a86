"""Features of an image carried to the texels of a surface: the entry point of the transformation."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from raylift.core.errors import DataError
from raylift.rendering.surface_transform.compiled import transform_compiled
from raylift.rendering.surface_transform.coverage import Coverage, cover_texels
from raylift.rendering.surface_transform.options import TransformOptions
from raylift.rendering.uv_fragments import UvFragments


@dataclass(frozen=True)
class SurfaceFeatures:
    """Features on a surface, as an image shows them.

    Attributes:
        features: of texel (row j, column i), which is at u = (i + 1/2) / N, v = (j + 1/2) / N; 0 where it is not seen.
        num_quads: number of quads of pixels that each texel is the mean of; it is seen where this is above 0.
        num_dropped: quads left out of each image's means by ``max_quads``.
    """

    features: Float[Tensor, "B D N N"]
    num_quads: Int[Tensor, "B N N"]
    num_dropped: Int[Tensor, "B"]


def to_surface(
    features: Float[Tensor, "B D H W"],
    fragments: UvFragments,
    texels: int,
    options: TransformOptions | None = None,
) -> SurfaceFeatures:
    """Carry features of pixels to N x N texels of the mesh's chart (DMNT, appendix A.1, equations 1 to 5 corrected).

    F_v = (1 / n_v) sum_q sum_k w_k f_k over the quads q of four pixels that own texel v, with inverse-bilinear weights.
    With g the gradient by F_v, F_s and F_t the slopes of the quad's features, and J = [X_s X_t]:

        by f_k: (w_k / n_v) g          by u_k: -(w_k / n_v) J^-T (F_s . g, F_t . g)

    Both are exact; which quads own a texel is a constant. On the CPU it is compiled, in float32 or float64, to the same
    bits for any number of threads. On an NVIDIA GPU Triton kernels do the same, also in a fixed order; without Triton
    it is plain torch.

    Args:
        features: at least float32 is computed with.
        fragments: of the same B images, at the features' resolution.
        texels: N.

    Raises:
        DataError: sizes that do not fit, or coordinates that are not finite.
    """
    coverage = cover_texels(fragments, texels, options)
    return SurfaceFeatures(texel_features(features, fragments, coverage), coverage.num_quads, coverage.num_dropped)


def texel_features(
    features: Float[Tensor, "B D H W"], fragments: UvFragments, coverage: Coverage
) -> Float[Tensor, "B D ..."]:
    """``to_surface`` for a coverage found before: of all texels [B, D, N, N], or of those selected [B, D, K].

    Training compares about 1000 of the texels that an image shows: choose them by ``coverage.num_quads``, and compute
    those alone with ``coverage.select(chosen)``.
    """
    batch, _, height, width = features.shape
    if (batch, height, width) != coverage.pixels or tuple(fragments.mask.shape) != coverage.pixels:
        raise DataError(
            f"features of shape {tuple(features.shape)} do not fit fragments of shape {coverage.pixels}",
            "rasterise at the features' resolution",
        )
    dtype = torch.promote_types(torch.promote_types(features.dtype, fragments.uv.dtype), torch.float32)
    device = features.device
    with torch.autocast(device.type, enabled=False):
        planes = features.to(dtype).flatten(2)
        uv = fragments.uv.to(dtype).flatten(1, 2)
        if device.type == "cpu":
            found = transform_compiled(planes, uv, coverage)
        elif device.type == "cuda" and find_spec("triton") is not None:
            from raylift.rendering.surface_transform.fused import transform_fused

            found = transform_fused(planes, uv, coverage)
        else:
            from raylift.rendering.surface_transform.plain import transform_plain

            found = transform_plain(planes, uv, coverage)
    return found.unflatten(2, coverage.rows[1:])
