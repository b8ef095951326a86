"""D_flow: the image coordinates that each texel is read from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.core.errors import ConfigError
from raylift.geometry.uv_sphere import TEXTURE_HEIGHT, TEXTURE_WIDTH, mirror_texture, sphere_directions
from raylift.networks.upsampling_decoder import UpsamplingDecoder

INITIAL_STD = 1e-3
FRONT_VIEW_EXTENT = 0.7


class FlowDecoder(nn.Module):
    """Maps the image's feature to a texture flow I_flow, (u, v) in (-1, 1) by tanh (D_flow of equation 7).

    Args:
        in_features: size of the image's feature.
        height, width: size of the texture.
        symmetric: whether to decode the half on the +X side and mirror it, so that both sides have the same colours.
        initial: initial flow; by default texels start at the image's centre. ``front_view_flow`` is better if objects
            are seen from the front.
        channels: channels of the coarsest map.

    Raises:
        ConfigError: a size that doubling cannot reach, or an initial flow of another size or outside of (-1, 1).
    """

    base: Tensor

    def __init__(
        self,
        in_features: int,
        height: int = TEXTURE_HEIGHT,
        width: int = TEXTURE_WIDTH,
        symmetric: bool = True,
        initial: Float[Tensor, "2 Ht Wt"] | None = None,
        channels: int = 256,
    ) -> None:
        super().__init__()
        self.symmetric = symmetric
        start = torch.zeros(2, height, width) if initial is None else initial
        if start.shape != (2, height, width) or not bool((start.abs() < 1).all()):
            raise ConfigError(
                f"the initial flow has shape {tuple(start.shape)}, the texture {height} x {width}",
                "use shape [2, height, width] and values strictly between -1 and 1",
            )
        own = start[..., width // 2 :] if symmetric else start
        self.decoder = UpsamplingDecoder(in_features, 2, height, own.shape[-1], channels)
        nn.init.normal_(self.decoder.last.weight, std=INITIAL_STD)
        nn.init.zeros_(self.decoder.last.bias)  # type: ignore[arg-type]
        self.register_buffer("base", own.atanh()[None].clone())

    def forward(self, feature: Float[Tensor, "B D"]) -> Float[Tensor, "B 2 Ht Wt"]:
        """I_flow: normalised image coordinates, (u, v)."""
        flow = torch.tanh(self.base + self.decoder(feature))
        return mirror_texture(flow) if self.symmetric else flow


def front_view_flow(
    height: int = TEXTURE_HEIGHT, width: int = TEXTURE_WIDTH, extent: float = FRONT_VIEW_EXTENT
) -> Float[Tensor, "2 Ht Wt"]:
    """The flow of a ball seen from the front: each texel is read where its point of the ball projects.

    Args:
        extent: radius of the ball in the image, in (0, 1). The back is read through the front.
    """
    u, v = (torch.arange(width) + 0.5) / width, 1 - (torch.arange(height) + 0.5) / height
    rows, columns = torch.meshgrid(v, u, indexing="ij")
    directions = sphere_directions(torch.stack([columns, rows], dim=-1))
    return extent * torch.stack([directions[..., 0], -directions[..., 1]])
