"""What can be chosen in the implicit family, with the paper's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.core.errors import ConfigError
from raylift.core.types import VoxelRequest

Conditioning = Literal["image", "visible", "surface", "gt_occupancy", "gt_sdf"]


@dataclass(frozen=True)
class ConditioningConfig:
    """What the network is told beside the image (section 3.3, from least to most).

    Attributes:
        kind: "image" (2D features only), "visible" (points reprojected from the view's depth), "surface" (points of the
            cloud merged over all views), "gt_occupancy" or "gt_sdf" (grids of the true shape).
        encoding: of points: "color_density" (4 channels) or "occupancy" (1 channel).
        resolution: voxels an edge, 32 or 64 in the paper.
        num_points: at most this many visible points (15 000), or the number of surface points (300, 3000).
    """

    kind: Conditioning = "visible"
    encoding: Literal["color_density", "occupancy"] = "color_density"
    resolution: int = 32
    num_points: int = 15_000

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution % 8:
            raise ConfigError(f"conditioning.resolution is {self.resolution}", "give a multiple of 8, such as 32 or 64")
        if self.num_points < 1:
            raise ConfigError(f"conditioning.num_points is {self.num_points}", "give at least 1")

    def voxel_request(self) -> VoxelRequest | None:
        """What to ask of the data pipeline; None when only the image conditions."""
        if self.kind == "image":
            return None
        return VoxelRequest(self.kind, self.encoding, self.resolution, self.num_points)


@dataclass(frozen=True)
class FourierConfig:
    """Equation 1.

    Attributes:
        size: rows of B; the embedding is twice as wide. 0 feeds the bare coordinates.
        scale: standard deviation sigma of B's entries.
    """

    size: int = 256
    scale: float = 0.8

    def __post_init__(self) -> None:
        if self.size < 0 or self.scale <= 0:
            raise ConfigError(
                f"fourier size {self.size}, scale {self.scale}", "give a size of 0 or more and a positive scale"
            )


@dataclass(frozen=True)
class ImplicitWeights:
    """Equation 4.

    Attributes:
        color: lambda_C.
        sdf: lambda_S.
    """

    color: float = 0.5
    sdf: float = 10.0

    def __post_init__(self) -> None:
        if self.color < 0 or self.sdf < 0:
            raise ConfigError(f"weights color {self.color}, sdf {self.sdf}", "give weights of 0 or more")


@dataclass(frozen=True)
class ImplicitConfig:
    """The implicit SDF+RGB family.

    Attributes:
        image_px: the image's side as the encoder sees it.
        backbone: image encoder, untrained.
        image_width: width of the backbone's first stage, 64 in ResNet; smaller makes a thinner net of the same shape.
        image_features: channels that each scale's features are reduced to.
        voxel_width: channels of the 3D encoder's first stage.
        voxel_stride: of the 3D encoder's first convolution: 1 is IF-Net's, 2 is several times cheaper on a CPU.
        hidden: width of the decoder's layers.
        points: supervised points a sample a step, drawn from all sigmas alike.
        truncation: the signed distance is clamped to [-truncation, truncation], world units.
        sdf_range: the head's distance is this times tanh: 1 is the paper's; the truncation learns sooner in few steps,
            but can saturate at "outside" where points far from the surface abound.
        fourier, conditioning, weights: see there.
    """

    image_px: int = 224
    backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet50"
    image_width: int = 64
    image_features: int = 64
    voxel_width: int = 16
    voxel_stride: Literal[1, 2] = 1
    hidden: int = 512
    points: int = 4096
    truncation: float = 0.1
    sdf_range: float = 1.0
    fourier: FourierConfig = field(default_factory=FourierConfig)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    weights: ImplicitWeights = field(default_factory=ImplicitWeights)

    def __post_init__(self) -> None:
        for name in ("image_px", "image_width", "image_features", "voxel_width", "hidden", "points"):
            if getattr(self, name) < 1:
                raise ConfigError(f"family.{name} is {getattr(self, name)}", "give at least 1")
        if self.voxel_stride not in (1, 2):
            raise ConfigError(f"family.voxel_stride is {self.voxel_stride}", "give 1 or 2")
        if not 0 < self.truncation <= 1:
            raise ConfigError(f"family.truncation is {self.truncation}", "the paper has 0.1")
        if self.sdf_range < self.truncation:
            raise ConfigError(
                f"family.sdf_range is {self.sdf_range}, below the truncation {self.truncation}", "the paper has 1.0"
            )
