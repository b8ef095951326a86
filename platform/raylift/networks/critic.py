"""The critic that distinguishes real images from rendered ones (D of equations 37-39)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from raylift.core.errors import ConfigError

CriticKind = Literal["patch", "global"]
NUM_HALVINGS = 4
SLOPE = 0.2


class Critic(nn.Module):
    """Four downsamplings by 4x4 convolutions, then one logit per patch, or one per image.

    No normalisation: batch statistics would couple samples, which the gradient penalty (one gradient per sample) and
    the world-size law forbid.

    Args:
        kind: "patch" has a logit for every 1/16 of the image's side (receptive field about 46 px), "global" one from
            the mean of the last features.
        in_channels: channels of the images.
        width: channels after the first downsampling, doubled by each further one.

    Raises:
        ConfigError: an unknown kind.
    """

    def __init__(self, kind: CriticKind = "patch", in_channels: int = 3, width: int = 64) -> None:
        super().__init__()
        if kind not in ("patch", "global"):
            raise ConfigError(f"unknown critic kind {kind!r}", "use 'patch' or 'global'")
        self.kind = kind
        widths = [in_channels, *(width * 2**level for level in range(NUM_HALVINGS))]
        self.halvings = nn.ModuleList(nn.Conv2d(wide, wider, 4, 2, padding=1) for wide, wider in pairwise(widths))
        self.last = nn.Conv2d(widths[-1], 1, 1) if kind == "patch" else nn.Linear(widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B N"]:
        """Compute logits, above 0 for "real", of RGB in [0, 1] of any size from 16 px."""
        x = 2 * image - 1
        for halving in self.halvings:
            x = leaky_relu(halving(x), SLOPE)
        logits: Tensor = self.last(x if self.kind == "patch" else x.mean(dim=(2, 3)))
        return logits.flatten(1)
