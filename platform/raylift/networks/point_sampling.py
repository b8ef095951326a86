"""Reading feature maps and volumes at points: the F_k(p) of the implicit paper's equation 2."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT


def sample_map(features: Float[Tensor, "B C H W"], uv: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """Bilinear values of a map at normalised image coordinates; beyond the border, the border's.

    Args:
        features: covers the image, whose corners are (-1, -1) (top left) and (1, 1).
        uv: the convention of ``core.types``. Any finite or infinite value; NaN reads the centre.
    """
    inside = uv.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1.0, 1.0)
    values = functional.grid_sample(
        features, inside[:, :, None].to(features.dtype), mode="bilinear", padding_mode="border", align_corners=False
    )
    return values[..., 0].transpose(1, 2)


def sample_volume(features: Float[Tensor, "B C X Y Z"], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N C"]:
    """Trilinear values of a volume over [-0.55, 0.55]^3 at world points; beyond the border, the border's.

    Args:
        features: cell-centred, indexed [x, y, z].
        points: world coordinates.
    """
    # grid_sample names the last axis first, so the order of coordinates is reversed.
    inside = (points.flip(-1) / GRID_HALF_EXTENT).clamp(-1.0, 1.0)
    values = functional.grid_sample(
        features,
        inside[:, :, None, None].to(features.dtype),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    return values[..., 0, 0].transpose(1, 2)
