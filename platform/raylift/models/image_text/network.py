"""The parameters of the image-text model: both towers, and the scale of their cosines."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from raylift.networks.image_text.two_tower import TwoTower, TwoTowerConfig

MOST_SCALE = 100.0
"""CLIP's limit of the learned scale: larger ones are unstable."""


class ScaledTowers(nn.Module):
    """Two towers and a learned scale.

    Attributes:
        log_scale: logarithm of the inverse temperature.
    """

    def __init__(self, config: TwoTowerConfig, scale: float) -> None:
        super().__init__()
        self.towers = TwoTower(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """The inverse temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(MOST_SCALE)).exp()
