"""What an evaluation measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError

Protocol = Literal["points", "occnet", "ifnet", "disn", "deepsdf", "meshrcnn", "unicorn", "solid32", "gso"]
Align = Literal["none", "similarity"]
ALL_PROTOCOLS: tuple[Protocol, ...] = ("occnet", "ifnet", "disn", "deepsdf", "meshrcnn")
"""Protocols of published figures for networks in a common frame. ``unicorn`` aligns, ``solid32`` is for image
collections, ``gso`` is usual after ``align``, and ``points`` extracts no surfaces; they must be requested by name."""
LEAST_PX = 32
"""Smaller images are too small for LPIPS."""


@dataclass(frozen=True)
class EvaluationConfig:
    """The full evaluation of held-out objects.

    Image collections always use the protocols for silhouettes, colour and cameras, and ``unicorn`` and ``solid32``
    if the shapes are known; ``protocols`` applies to data sets of shapes.

    Attributes:
        protocols: names of the shape protocols. ``points`` alone extracts no surfaces: colour is measured at true
            surface points, and an evaluation takes seconds, not minutes.
        align: for data sets of shapes, what is done with a shape before it is compared: "none", or "similarity", a
            rotation, scale and shift searched for each object with its truth known, for the model and for baselines
            (``metrics.similarity_alignment``).
        resolution: cells per edge of the grid that fields are extracted on.
        level: iso-level of fields in world units; "auto" chooses it on validation and training objects (see
            ``evaluation.shapes.iso_level``) and prints it with the score.
        color_views: rendered views per reconstruction for PSNR, SSIM and LPIPS; 0 omits colour.
        color_px: side of those views in pixels.
        lpips: whether to measure LPIPS, if its weights are available.
        baselines: whether to score baselines that need no learning.
        cache_baselines: whether to keep their scores next to the data set, for other seeds and table rows with the same
            inputs.
        panels: number of objects to draw panels of.
        image_px: for image collections, side in pixels of the images that reconstructions are compared with; 0 uses the
            size of the crop in the stored image, the resolution of the truth.
        keypoint_sources: for image collections with keypoints, number of images to transfer each image's keypoints
            from.
        true_shapes: for image collections made from a data set of shapes, the present location of that data set; empty
            uses the recorded one, "none" omits shape and unseen views.
        symmetries: for recognisers of objects, symmetries about the vertical axis as CATEGORY=SYMMETRY, with none,
            half_turn, quarter_turn or round; ``auto`` lets the training shapes decide for the categories not listed.
        calibration_images: for recognisers, maximum number of validation images that fit the temperature of the class
            probabilities; 0 omits it.
        validation_images: for recognisers, maximum number of images that are validated on while training, drawn
            by their ids; 0 uses all.
    """

    protocols: tuple[Protocol, ...] = ALL_PROTOCOLS
    align: Align = "none"
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
    symmetries: tuple[str, ...] = ("auto",)
    calibration_images: int = 200
    validation_images: int = 0

    def __post_init__(self) -> None:
        if self.resolution < 16:
            raise ConfigError(f"evaluation.resolution is {self.resolution}", "use at least 16")
        if self.image_px and self.image_px < LEAST_PX:
            raise ConfigError(f"evaluation.image_px is {self.image_px}", f"use 0, or at least {LEAST_PX}")
        if self.calibration_images < 0:
            raise ConfigError(f"evaluation.calibration_images is {self.calibration_images}", "use 0 or more")
        if self.validation_images < 0:
            raise ConfigError(f"evaluation.validation_images is {self.validation_images}", "use 0 or more")
        if self.keypoint_sources < 1:
            raise ConfigError(f"evaluation.keypoint_sources is {self.keypoint_sources}", "use at least 1")
