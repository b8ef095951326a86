"""Texture banks averaged down to a few hundred features per category, for matching without a pose."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from raylift.core.errors import DataError


@dataclass(frozen=True)
class TextureBanks:
    """Features of each category's surface at texel resolution n <= N.

    Attributes:
        features: unit length, or 0 where the texel was never seen; texel (j, i) is entry ``j n + i``.
        seen: whether any of a texel's parts was ever seen.
    """

    features: Float[Tensor, "C n*n D"]
    seen: Bool[Tensor, "C n*n"]

    @property
    def texels(self) -> int:
        """Texels per side, n."""
        return round(self.features.shape[1] ** 0.5)


def texture_banks(texture: Float[Tensor, "C N N D"], seen: Float[Tensor, "C N N"], max_texels: int) -> TextureBanks:
    """Average textures over square blocks, counting what was seen only.

    Args:
        texture: unit features.
        seen: how often or whether each texel was seen; 0 for never.
        max_texels: largest n; blocks have the smallest side that divides N and keeps to it.

    Raises:
        DataError: no category has a texel that was ever seen.
    """
    side = texture.shape[1]
    if not bool((seen > 0).any()):
        raise DataError("no category has a texel that was ever seen", "train the model first: its textures are empty")
    block = next(size for size in range(1, side + 1) if side % size == 0 and side // size <= max_texels)
    weight = (seen > 0).to(texture.dtype)[:, None]
    total = avg_pool2d(texture.permute(0, 3, 1, 2) * weight, block)
    features = normalize(total, dim=1).flatten(2).mT.contiguous()
    return TextureBanks(features, avg_pool2d(weight, block).flatten(1) > 0)
