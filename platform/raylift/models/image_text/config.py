"""Config of the image-text model."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.core.errors import ConfigError
from raylift.networks.image_text.two_tower import TwoTowerConfig
from raylift.rendering.backgrounds import BackgroundKind


@dataclass(frozen=True)
class ImageTextConfig:
    """Config of the image-text model.

    Attributes:
        towers: sizes of the two towers.
        padding, jitter, mirror: padding, jitter and mirroring of the crops, see ``core.types.CropRequest``.
        backgrounds: kinds of backgrounds that objects are put on while training, equally likely; evaluation uses white.
        scale: initial inverse temperature of the contrastive loss; it is learned. CLIP starts at 1 / 0.07.
    """

    towers: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    padding: float = 0.1
    jitter: float = 0.1
    mirror: bool = True
    backgrounds: tuple[BackgroundKind, ...] = ("noise", "checkerboard", "fourier", "white")
    scale: float = 1 / 0.07

    def __post_init__(self) -> None:
        if not self.backgrounds:
            raise ConfigError("model.backgrounds is empty", "use at least one, such as white")
        if not 0 < self.scale <= 100:
            raise ConfigError(f"model.scale is {self.scale}", "use more than 0 and at most 100")
