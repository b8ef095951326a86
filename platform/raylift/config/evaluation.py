"""What an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError

Protocol = Literal["points", "occnet", "ifnet", "disn", "deepsdf", "meshrcnn", "unicorn"]
ALL_PROTOCOLS: tuple[Protocol, ...] = ("occnet", "ifnet", "disn", "deepsdf", "meshrcnn")
"""What published figures of networks in a common frame use. ``unicorn`` aligns, ``points`` makes no surfaces; both are
asked for by name."""
LEAST_PX = 32
"""Smaller pictures are too small for LPIPS."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The full evaluation of held-out objects.

    Of image collections the named protocols of silhouettes, colour and cameras are what there is, with ``unicorn`` for
    shapes that are known; ``protocols`` is for data sets of shapes.

    Attributes:
        protocols: which named protocols (shape). ``points`` alone makes no surfaces, so colour is that at true surface
            points, and an evaluation takes seconds, not minutes.
        resolution: fields are extracted at this many cells an edge.
        level: fields are cut at this value, world units; "auto" chooses it on validation and training objects (see
            ``evaluation.shapes.iso_level``) and prints it with the score.
        color_views: rendered views a reconstruction is compared in (PSNR, SSIM, LPIPS); 0 leaves colour out.
        color_px: the side of those views.
        lpips: perceptual distance too, when its weights are at hand.
        baselines: answers that need no learning beside the model.
        cache_baselines: keep their scores beside the data set, where seeds and rows of a table that are told the same
            find them.
        panels: objects that panels are drawn of.
        image_px: of image collections: side of the pictures that reconstructions are compared with; 0 takes the pixels
            that the crop has in the stored image, the truth's own resolution.
        keypoint_sources: of image collections with keypoints: images that each image's keypoints are transferred from.
        true_shapes: of image collections made of a data set of shapes: where that lies now; empty takes where it lay
            then, "none" leaves shape and unseen views out.
    """

    protocols: tuple[Protocol, ...] = ALL_PROTOCOLS
    resolution: int = 256
    level: float | Literal["auto"] = "auto"
    color_views: int = 4
    color_px: int = 128
    lpips: bool = True
    baselines: bool = True
    cache_baselines: bool = True
    panels: int = 4
    image_px: int = 0
    keypoint_sources: int = 10
    true_shapes: str = ""

    def __post_init__(self) -> None:
        if self.resolution < 16:
            raise ConfigError(f"evaluation.resolution is {self.resolution}", "give at least 16")
        if self.image_px and self.image_px < LEAST_PX:
            raise ConfigError(f"evaluation.image_px is {self.image_px}", f"give 0, or at least {LEAST_PX}")
        if self.keypoint_sources < 1:
            raise ConfigError(f"evaluation.keypoint_sources is {self.keypoint_sources}", "give at least 1")
