"""Reading feature maps and volumes at points: the F_k(p) of the implicit paper's equation 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from raylift.core.types import GRID_HALF_EXTENT
from raylift.networks.trilinear_kernel import read_volumes


def sample_map(features: Float[Tensor, "B C H W"], uv: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """Bilinear values of a map at normalised image coordinates; border values beyond the border.

    Args:
        features: map over the image, whose corners are (-1, -1) (top left) and (1, 1).
        uv: coordinates in the convention of ``core.types``. Any finite or infinite value; NaN reads the centre.

    Returns:
        values in the wider of both precisions, at least float32, whatever autocast says.
    """
    inside = uv.nan_to_num(nan=0.0, posinf=1.0, neginf=-1.0).clamp(-1.0, 1.0)
    return _read(features, inside[:, :, None])[..., 0].transpose(1, 2)


def sample_volume(features: Float[Tensor, "B C X Y Z"], points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N C"]:
    """Trilinear values of a volume over [-0.55, 0.55]^3 at world points; border values beyond the border.

    Args:
        features: cell-centred volume, indexed [x, y, z].
        points: world coordinates.

    Returns:
        values in the wider of both precisions, at least float32, whatever autocast says.
    """
    # grid_sample takes the last axis first, so the order of coordinates is reversed.
    inside = (points.flip(-1) / GRID_HALF_EXTENT).clamp(-1.0, 1.0)
    if (
        not torch.is_grad_enabled()
        and features.device.type == "cpu"
        and features.dtype == inside.dtype == torch.float32
    ):
        return read_volumes(features, inside)
    return _read(features, inside[:, :, None, None])[..., 0, 0].transpose(1, 2)


def _read(features: Tensor, grid: Tensor) -> Tensor:
    """``grid_sample`` outside of mixed precision: bfloat16's 8 bits move a point by up to 1/256 of the grid."""
    precision = torch.promote_types(torch.promote_types(features.dtype, grid.dtype), torch.float32)
    with torch.autocast(features.device.type, enabled=False):
        return functional.grid_sample(
            features.to(precision), grid.to(precision), padding_mode="border", align_corners=False
        )
