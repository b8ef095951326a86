"""Three feature planes from a latent, by one 2D generator (after EG3D, Chan et al. 2022)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.precision import at_least_float32
from raylift.networks.modulated import ModulatedConv, activate, channels_last, upsample
from raylift.networks.volumes.config import COARSEST, VolumeConfig

PRODUCT_GAIN = 0.2
"""Factor of the initial weights of planes that are multiplied: 1 + plane is near 1, and so is the product."""


class PlaneGenerator(nn.Module):
    """A learned 4 x 4 constant and a latent to three planes of ``channels`` each: xy, xz and yz.

    One modulated convolution per scale, then one into the three planes. With ``symmetric``, xy and xz are averaged with
    their mirror images along x, which makes every read at (-x, y, z) that at (x, y, z).

    Args:
        config: of representation "triplane".
        style_features: size of the latent.
    """

    def __init__(self, config: VolumeConfig, style_features: int) -> None:
        super().__init__()
        self.config = config
        widths = config.stage_widths
        self.constant = nn.Parameter(torch.randn(widths[0], *(COARSEST,) * 2))
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.stages = nn.ModuleList(ModulatedConv(style_features, (after, before, 3, 3)) for before, after in pairs)
        gain = PRODUCT_GAIN if config.combine == "product" else 1.0
        self.head = ModulatedConv(style_features, (3 * config.channels, widths[-1], 3, 3), demodulate=False, gain=gain)

    def forward(self, style: Float[Tensor, "B Z"]) -> Float[Tensor, "B 3 C R R"]:
        """Planes xy, xz, yz; each indexed by its own two coordinates in that order."""
        x = channels_last(self.constant.expand(len(style), *self.constant.shape))
        for index, stage in enumerate(self.stages):
            x = activate(stage(upsample(x, self.config.upsampling) if index else x, style))
        with torch.autocast(x.device.type, enabled=False):
            planes = self.head(at_least_float32(x), at_least_float32(style))
            planes = planes.reshape(len(style), 3, self.config.channels, *planes.shape[-2:])
            if self.config.symmetric:
                along_x = planes[:, :2]
                planes = torch.cat([0.5 * (along_x + along_x.flip(3)), planes[:, 2:]], 1)
            return planes
