"""A texture predicted as colours, for models that do not read it from the image (UCMR)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.geometry.uv_sphere import TEXTURE_HEIGHT, TEXTURE_WIDTH, mirror_texture
from raylift.networks.upsampling_decoder import UpsamplingDecoder

INITIAL_STD = 1e-3


class ColorDecoder(nn.Module):
    """Maps the image's feature to a texture, RGB in (0, 1); initially grey.

    A flow that reads the input's own view explains any image by a frontal camera. Predicted colours do not, so their
    error can select cameras (Goel et al. 2020).

    Args:
        in_features: size of the image's feature.
        height, width: size of the texture; see ``UpsamplingDecoder``.
        symmetric: whether to decode the half on the +X side and mirror it.
        channels: channels of the coarsest map.

    Raises:
        ConfigError: a size that doubling cannot reach.
    """

    def __init__(
        self,
        in_features: int,
        height: int = TEXTURE_HEIGHT,
        width: int = TEXTURE_WIDTH,
        symmetric: bool = True,
        channels: int = 256,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        self.decoder = UpsamplingDecoder(in_features, 3, height, width // 2 if symmetric else width, channels)
        nn.init.normal_(self.decoder.last.weight, std=INITIAL_STD)
        nn.init.zeros_(self.decoder.last.bias)  # type: ignore[arg-type]

    def forward(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 Ht Wt"]:
        """The texture, first row on top."""
        colors = torch.sigmoid(self.decoder(feature))
        return mirror_texture(colors) if self.symmetric else colors
