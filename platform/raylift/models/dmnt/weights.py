"""Counts and weights of what surface features are contrasted with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.core.errors import ConfigError
from raylift.losses.surface_contrast import ContrastWeights
from raylift.rendering.surface_transform.options import TransformOptions


@dataclass(frozen=True)
class ContrastConfig:
    """The contrastive loss (appendix A.3). The counts in the text do not add up to its 3200, so each is an option.

    Attributes:
        reading: how features meet the surface: "transform" carries them to texels (appendix A.1), "direct" reads the
            texture at each cell's own coordinate, the control without that function.
        uv_gradient: whether the loss moves surface coordinates, and by them the templates' deformation.
        num_surface: visible places sampled per image.
        num_same: places drawn on the surface of the image's category, of which those near a feature do not count.
        num_other: places drawn on every other category's surface.
        num_background: background features drawn from the global batch; all prototypes of clutter come on top.
        near_deg: angle on the template's sphere within which a place is too near to be opposed. It replaces the paper's
            20 pixels: an object of 400 pixels shows 180 degrees, so that 20 pixels are about 9.
        temperature: of the cosines; the appendix has none, NeMo's is 0.07.
        weights: of the four kinds.
        transform: which quads of cells a texel takes its features from.
    """

    reading: Literal["transform", "direct"] = "transform"
    uv_gradient: bool = True
    num_surface: int = 1000
    num_same: int = 1000
    num_other: int = 200
    num_background: int = 2000
    near_deg: float = 9.0
    temperature: float = 0.07
    weights: ContrastWeights = field(default_factory=ContrastWeights)
    transform: TransformOptions = field(default_factory=TransformOptions)

    def __post_init__(self) -> None:
        if self.num_surface < 1 or min(self.num_same, self.num_other, self.num_background) < 0:
            raise ConfigError("a count of the contrastive loss is too small", "use num_surface >= 1, others >= 0")
        if not 0 <= self.near_deg < 180:
            raise ConfigError(f"contrast.near_deg is {self.near_deg}", "use an angle from 0 to below 180")
        if self.temperature <= 0:
            raise ConfigError(f"contrast.temperature is {self.temperature}", "use a temperature above 0")
