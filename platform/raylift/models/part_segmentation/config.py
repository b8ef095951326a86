"""What can be chosen in part segmentation, with SCOPS' values as defaults where they carry over."""

from __future__ import annotations

from dataclasses import dataclass, field

from raylift.core.errors import ConfigError
from raylift.networks.feature_maps import ExtractorName
from raylift.networks.resnet import Backbone


@dataclass(frozen=True)
class PartWeights:
    """Weights of the terms.

    Attributes:
        concentration: the parts' variances; normalised coordinates squared, mean over parts and images.
        equivariance: the divergence of responses, mean over pixels.
        centers: the distance of part centres; normalised coordinates squared, mean over parts and images.
        semantic: what the basis leaves unexplained of features of unit length, mean over the object's pixels.
        orthonormality: sum over the entries of (W W' - I)^2.
        foreground: the cross-entropy of parts together and the silhouette, mean over pixels.
        balance: how unequal the parts' shares of an object are (``imbalance_error``), mean over images.
    """

    concentration: float = 0.1
    equivariance: float = 1.0
    centers: float = 1.0
    semantic: float = 10.0
    orthonormality: float = 0.1
    foreground: float = 1.0
    balance: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ConfigError(f"model.weights.{name} is {value}", "give 0 or more")


@dataclass(frozen=True)
class MotionConfig:
    """The random motion and colours that parts must be equivariant and invariant to.

    Attributes:
        rotation_deg: drawn from [-rotation_deg, rotation_deg].
        scale: the logarithm of the scale is drawn from [-scale, scale].
        shift: in half image sizes, along each axis.
        bend: standard deviation of each control point of the thin-plate spline, in half image sizes.
        control_points: along a side of the grid.
        color: brightness, contrast, saturation and each channel are scaled by a draw from [1 - color, 1 + color].
    """

    rotation_deg: float = 30.0
    scale: float = 0.2
    shift: float = 0.1
    bend: float = 0.05
    control_points: int = 4
    color: float = 0.3

    def __post_init__(self) -> None:
        if min(self.rotation_deg, self.scale, self.shift, self.bend) < 0 or not 0 <= self.color < 1:
            raise ConfigError("model.motion has a negative range, or color outside of [0, 1)", "0 turns a draw off")
        if self.control_points < 2:
            raise ConfigError(f"model.motion.control_points is {self.control_points}", "give at least 2")


@dataclass(frozen=True)
class PartSegmentationConfig:
    """The model.

    Attributes:
        num_parts: without the background.
        image_px: side of the crops that the network and the extractor see.
        backbone, width: of the encoder (see ``networks.resnet``); 64 is ResNet's own width.
        channels: of the decoder.
        extractor: whose features tell parts apart; "random" is for tests alone.
        padding, jitter, mirror: of the crops, see ``core.types.CropRequest``.
        motion, weights: see there.
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
            raise ConfigError(f"model.num_parts is {self.num_parts}", "give at least 2; UMR takes 4")
        if self.image_px < 32 or self.image_px % 32:
            raise ConfigError(f"model.image_px is {self.image_px}", "give a multiple of 32, such as 128 or 256")
        if min(self.width, self.channels) < 1:
            raise ConfigError(f"model.width {self.width}, channels {self.channels}", "give at least 1")
