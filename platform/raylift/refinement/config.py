"""Settings of a refinement: the published ones, and ours."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal

from raylift.core.errors import ConfigError


@dataclass(frozen=True)
class RefinementConfig:
    """Weights and step sizes of a refinement (Ye et al. 2021, section 3.4, and their code's values).

    Attributes:
        num_steps: Adam steps; 0 changes nothing.
        image_px: side at which mask and image are compared.
        crop: whether only the object's surroundings are compared, enlarged to image_px, or the whole image.
        learning_rate: of vertex offsets, world units.
        camera_learning_rate: of the camera: radians, half image sizes, logarithm of the scale.
        camera_share: share of the steps, at the start, in which only the camera moves, in [0, 1].
        smoothness: lambda of the gradients' preconditioner (I + lambda L)^-1, L the graph Laplacian (Nicolet et al.
            2021): vertices move together over about its square root of edges. 0 moves each on its own.
        mask_loss: "iou" is one minus the soft intersection over union, "l1" the published mean difference.
        mask_weight: of the mask's loss.
        color_weight: of the mean difference of RGB within the mask.
        laplacian_weight: of the mean length of the uniform Laplacian.
        edge_weight: of the mean squared length of edges.
        normal_weight: of the mean of 1 - cos between neighbouring faces' normals.
        offset_weight: of the mean squared offset.
        camera_weight: of the squared angle by which the camera turns; shift and scale are free.
        sigma: softness of silhouettes, squared half image sizes.
        faces_per_pixel: nearest faces that count in a pixel's colour.
    """

    num_steps: int = 150
    image_px: int = 96
    crop: bool = True
    learning_rate: float = 2e-3
    camera_learning_rate: float = 4e-3
    camera_share: float = 0.3
    smoothness: float = 5.0
    mask_loss: Literal["iou", "l1"] = "iou"
    mask_weight: float = 10.0
    color_weight: float = 3.0
    laplacian_weight: float = 20.0
    edge_weight: float = 0.0
    normal_weight: float = 2.0
    offset_weight: float = 300.0
    camera_weight: float = 3.0
    sigma: float = 3e-5
    faces_per_pixel: int = 4

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not isinstance(value, str) and not 0 <= value < math.inf:
                raise ConfigError(f"refinement: {one.name} is {value}", "use 0 or more")
        if self.image_px < 8 or self.faces_per_pixel < 1 or self.sigma <= 0:
            raise ConfigError(
                f"refinement: image_px {self.image_px}, faces_per_pixel {self.faces_per_pixel}, sigma {self.sigma}",
                "use at least 8 pixels, 1 face and a softness above 0",
            )

    @staticmethod
    def paper() -> RefinementConfig:
        """The published settings: 300 steps, of which no vertex can travel more than 0.03 (demo.py's weights)."""
        return RefinementConfig(
            num_steps=300,
            image_px=224,
            crop=False,
            learning_rate=1e-4,
            camera_learning_rate=1e-4,
            camera_share=0.0,
            smoothness=0.0,
            mask_loss="l1",
            mask_weight=10.0,
            color_weight=10.0,
            laplacian_weight=100.0,
            edge_weight=100.0,
            normal_weight=50.0,
            offset_weight=1000.0,
            camera_weight=0.0,
            sigma=1e-4,
            faces_per_pixel=10,
        )
