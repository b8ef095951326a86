"""D_var: the picture that the sampling image is multiplied by."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from raylift.core.errors import ConfigError
from raylift.networks.upsampling_decoder import UpsamplingDecoder


class VarianceDecoder(nn.Module):
    """The image's feature to I_var of equation 11, exactly 1 everywhere at the start.

    I_var = limit^tanh(x): between 1 / limit and limit, so it neither blanks the image nor turns colours negative.

    Args:
        in_features: of the image's feature.
        image_px: of the sampling image.
        channels: 1 varies brightness, 3 each colour by itself.
        limit: the largest factor, above 1.
        resolution: of the decoded picture, 4 times a power of two; it is enlarged bilinearly to the image.
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
                f"a variance image of {channels} channels up to a factor of {limit}",
                "give 1 or 3 channels and a limit above 1",
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
