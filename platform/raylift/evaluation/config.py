"""What an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError

Protocol = Literal["occnet", "ifnet", "disn", "deepsdf", "meshrcnn"]
ALL_PROTOCOLS: tuple[Protocol, ...] = ("occnet", "ifnet", "disn", "deepsdf", "meshrcnn")


@dataclass(frozen=True)
class EvaluationConfig:
    """The full evaluation of held-out objects.

    Attributes:
        protocols: which named protocols (shape).
        resolution: fields are extracted at this many cells an edge.
        color_views: rendered views a reconstruction is compared in (PSNR, SSIM, LPIPS); 0 leaves colour out.
        color_px: the side of those views.
        lpips: perceptual distance too, when its weights are at hand.
        baselines: mean shape and retrieval beside the model.
        panels: objects that panels are drawn of.
    """

    protocols: tuple[Protocol, ...] = ALL_PROTOCOLS
    resolution: int = 256
    color_views: int = 4
    color_px: int = 128
    lpips: bool = True
    baselines: bool = True
    panels: int = 4

    def __post_init__(self) -> None:
        if self.resolution < 16:
            raise ConfigError(f"evaluation.resolution is {self.resolution}", "give at least 16")
