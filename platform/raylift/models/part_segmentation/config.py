"""Config of part segmentation, with SCOPS' values as defaults where applicable."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.networks.feature_maps import ExtractorName
from raylift.networks.resnet import Backbone


@dataclass(frozen=True)
class PartWeights:
    """Weights of the terms.

    Attributes:
        concentration: variances of the parts; normalised coordinates squared, mean over parts and images.
        equivariance: divergence of responses, mean over pixels.
        centers: distance of part centres; normalised coordinates squared, mean over parts and images.
        semantic: residual of unit-length features that the basis does not explain, mean over the object's pixels.
        orthonormality: sum over the entries of (W W' - I)^2.
        foreground: cross-entropy of the sum of parts and the silhouette, mean over pixels.
        balance: imbalance of the parts' shares of an object (``imbalance_error``), mean over images.
    """

    concentration: float = 0.1
    equivariance: float = 1.0
    centers: float = 1.0
    semantic: float = 10.0
    orthonormality: float = 0.1
    foreground: float = 1.0
    balance: float = 1.0

    def __post_init__(self) -> None:
        require_at_least(self, 0, *vars(self), path="model.weights.")


@dataclass(frozen=True)
class MotionConfig:
    """The random motion and colours to which parts must be equivariant and invariant.

    Attributes:
        rotation_deg: limit of the rotation, drawn from [-rotation_deg, rotation_deg].
        scale: limit of the scale's logarithm, drawn from [-scale, scale].
        shift: limit of the shift along each axis, in half image sizes.
        bend: standard deviation of each control point of the thin-plate spline, in half image sizes.
        control_points: control points along a side of the grid.
        color: limit of the factors of brightness, contrast, saturation and each channel, drawn from [1 - color, 1 +
            color].
    """

    rotation_deg: float = 30.0
    scale: float = 0.2
    shift: float = 0.1
    bend: float = 0.05
    control_points: int = 4
    color: float = 0.3

    def __post_init__(self) -> None:
        if min(self.rotation_deg, self.scale, self.shift, self.bend) < 0 or not 0 <= self.color < 1:
            raise ConfigError(
                "model.motion has a negative range, or color outside of [0, 1)", "use 0 or more; 0 disables a draw"
            )
        if self.control_points < 2:
            raise ConfigError(f"model.motion.control_points is {self.control_points}", "use at least 2")


@dataclass(frozen=True)
class PartSegmentationConfig:
    """Config of part segmentation.

    Attributes:
        num_parts: number of parts without the background.
        image_px: side of the crops that the network and the extractor see.
        backbone, width: layout and width of the encoder (see ``networks.resnet``); 64 is ResNet's own width.
        channels: channels of the decoder.
        extractor: extractor of the features that distinguish parts; "random" is for tests only.
        padding, jitter, mirror: padding, jitter and mirroring of the crops, see ``core.types.CropRequest``.
        motion, weights: nested configs, see their classes.
    """

    num_parts: int = 4
    image_px: int = 256
    backbone: Backbone = "resnet50"
    width: int = 64
    channels: int = 128
    extractor: ExtractorName = "vgg16"
    padding: float = 0.05
    jitter: float = 0.05
    mirror: bool = True
    motion: MotionConfig = field(default_factory=MotionConfig)
    weights: PartWeights = field(default_factory=PartWeights)

    def __post_init__(self) -> None:
        if self.num_parts < 2:
            raise ConfigError(f"model.num_parts is {self.num_parts}", "use at least 2; UMR uses 4")
        if self.image_px < 32 or self.image_px % 32:
            raise ConfigError(f"model.image_px is {self.image_px}", "use a multiple of 32, such as 128 or 256")
        if min(self.width, self.channels) < 1:
            raise ConfigError(f"model.width {self.width}, channels {self.channels}", "use at least 1")
