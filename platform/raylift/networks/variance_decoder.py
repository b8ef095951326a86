"""D_var: the factors of the sampling image."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.networks.upsampling_decoder import UpsamplingDecoder


class VarianceDecoder(nn.Module):
    """Maps the image's feature to I_var of equation 11, initially exactly 1 everywhere.

    I_var = limit^tanh(x): between 1 / limit and limit, so it neither erases the image nor makes colours negative.

    Args:
        in_features: size of the image's feature.
        image_px: side of the sampling image.
        channels: number of channels: 1 varies brightness, 3 each colour separately.
        limit: largest factor, above 1.
        resolution: side of the decoded image, 4 times a power of two; it is upsampled bilinearly.
        width: channels of the coarsest map.

    Raises:
        ConfigError: impossible channels, limit or resolution.
    """

    def __init__(
        self,
        in_features: int,
        image_px: int,
        channels: int = 3,
        limit: float = 2.0,
        resolution: int = 64,
        width: int = 128,
    ) -> None:
        super().__init__()
        if channels not in (1, 3) or not limit > 1:
            raise ConfigError(
                f"the variance image has {channels} channels and the limit {limit}",
                "use 1 or 3 channels and a limit above 1",
            )
        self.image_px, self.limit = image_px, limit
        self.decoder = UpsamplingDecoder(in_features, channels, resolution, resolution, width)
        nn.init.zeros_(self.decoder.last.weight)
        nn.init.zeros_(self.decoder.last.bias)  # type: ignore[arg-type]

    def forward(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B V H W"]:
        coarse = self.decoder(feature)
        size = (self.image_px, self.image_px)
        exponent = functional.interpolate(coarse, size, mode="bilinear", align_corners=False).tanh()
        return (math.log(self.limit) * exponent).exp()
