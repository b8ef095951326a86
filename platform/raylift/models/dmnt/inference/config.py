"""Settings of the inference: which poses are searched, and how they are refined."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.geometry.pose_grid import PoseRange

OffsetKind = Literal["translation", "principal"]


@dataclass(frozen=True)
class StartConfig:
    """The grid of coarse poses: rotations x distances x image offsets.

    The default has NeMo's 12 azimuths x 4 elevations x 3 rolls = 144 starts.

    Attributes:
        rotations: azimuths, elevations and rolls.
        fov_deg: field of view of the camera, which is not searched.
        distances: distances from the object's centre to try, world units.
        max_offset: largest offset of the object's centre along each image axis, in half image sizes.
        offsets: number of offsets per axis, evenly spaced over [-max_offset, max_offset] and rounded to whole pixels of
            the feature map; 1 for none.
        offset: what moves an object off the centre: its "translation" across the line of sight, or the camera's
            "principal" point, as in PASCAL3D+. The same image has slightly different rotations under the two.
        stride: feature pixels per pixel of the map that starts are ranked on.
        max_texels: largest side of the textures that starts are ranked with; finer ones are averaged down.
    """

    rotations: PoseRange = field(
        default_factory=lambda: PoseRange(
            azimuths=12, elevation_deg=(-30.0, 60.0), elevations=4, roll_deg=30.0, rolls=3
        )
    )
    fov_deg: float = 47.0
    distances: tuple[float, ...] = (2.2,)
    max_offset: float = 0.0
    offsets: int = 1
    offset: OffsetKind = "translation"
    stride: int = 1
    max_texels: int = 32

    def __post_init__(self) -> None:
        if not 0 < self.fov_deg < 180:
            raise ConfigError(f"fov_deg is {self.fov_deg}", "use an opening angle between 0 and 180 degrees")
        if not self.distances or not all(0 < distance < math.inf for distance in self.distances):
            raise ConfigError(f"distances are {self.distances}", "use at least one distance above 0")
        if self.offsets < 1 or not 0 <= self.max_offset < 1 or (self.offsets > 1) != (self.max_offset > 0):
            raise ConfigError(
                f"offsets is {self.offsets}, max_offset {self.max_offset}",
                "use offsets above 1 with max_offset in (0, 1), or 1 with 0",
            )
        if self.stride < 1 or self.max_texels < 1:
            raise ConfigError(f"stride {self.stride}, max_texels {self.max_texels}", "use 1 or more")


@dataclass(frozen=True)
class InferenceConfig:
    """Settings of class proposals, refinement and posterior.

    Attributes:
        starts: the grid of coarse poses.
        num_categories: categories per image that are fitted, the best matches of their textures.
        num_starts: coarse poses per category that are refined.
        occlusion_price: cosine similarity that a pixel inside the outline loses where clutter explains it better. 0 is
            NeMo's loss, under which a larger outline is never worse.
        solver: "adam"; "levenberg", Levenberg-Marquardt on the features alone; or "both", Adam until poses are dropped,
            then the other.
        pose_steps: steps of the pose.
        drop_after: steps after which only ``num_kept`` poses per category go on.
        num_kept: see ``drop_after``.
        learning_rate: Adam's, at the first step: radians, logarithm of the distance, half image sizes. It falls to a
            tenth along a cosine.
        shape_steps: Adam steps of pose and shape together, after those of the pose; 0 keeps the mean shape.
        shape_rounds: rounds that these steps are divided into; unless the solver is "adam", each ends with a few steps
            of Levenberg-Marquardt on the pose alone.
        shape_learning_rate: of the whitened latent, in standard deviations.
        prior_weight: of half the squared length of the whitened latent, relative to the summed similarity of pixels.
        silhouette_weight: of the outline's term; 0 for features alone.
        sigma_px: softness of the outline, pixels of the feature map.
        temperature: of the posterior over categories, in mean similarity over the image; used until it is calibrated.
        none_score: score of "none of them", in mean similarity over the image; used until it is calibrated.
        pixel_temperature: of the probability that a pixel inside the outline shows the object, in cosine similarity.
    """

    starts: StartConfig = field(default_factory=StartConfig)
    num_categories: int = 3
    num_starts: int = 8
    occlusion_price: float = 0.05
    solver: Literal["adam", "levenberg", "both"] = "both"
    pose_steps: int = 24
    drop_after: int = 10
    num_kept: int = 2
    learning_rate: float = 0.03
    shape_steps: int = 30
    shape_rounds: int = 2
    shape_learning_rate: float = 0.2
    prior_weight: float = 0.1
    silhouette_weight: float = 0.3
    sigma_px: float = 0.5
    temperature: float = 0.01
    none_score: float = 0.005
    pixel_temperature: float = 0.1

    def __post_init__(self) -> None:
        require_at_least(self, 1, "num_categories", "num_starts", "num_kept", "shape_rounds")
        for name in ("pose_steps", "drop_after", "shape_steps", "occlusion_price", "prior_weight", "silhouette_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}", "use 0 or more")
        for name in ("learning_rate", "shape_learning_rate", "sigma_px", "temperature", "pixel_temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}", "use a value above 0")
