"""What can be chosen of the model, as ``model.*`` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class TinyBallWeights:
    """Of the terms; 0 leaves one out.

    Attributes:
        sdf: signed distance at the supervised points, world units.
        color: RGB at them.
    """

    sdf: float = 1.0
    color: float = 0.1


@dataclass(frozen=True)
class TinyBallConfig:
    """The model's sizes.

    Attributes:
        image_px: side of the image.
        pooled_px: the image is averaged to this side before it is read.
        hidden: width of the one hidden layer.
        points: supervised points a sample.
        weights: of the terms.
    """

    image_px: int = 32
    pooled_px: int = 4
    hidden: int = 32
    points: int = 64
    weights: TinyBallWeights = field(default_factory=TinyBallWeights)

    def __post_init__(self) -> None:
        if min(self.image_px, self.pooled_px, self.hidden, self.points) < 1:
            raise ConfigError(f"a tiny ball of sizes {self}", "give at least 1 of everything")
