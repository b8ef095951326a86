"""Config of the implicit model, with the paper's values as defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from raylift.config.checks import require_at_least
from raylift.core.errors import ConfigError
from raylift.core.types import VoxelRequest

Conditioning = Literal["image", "visible", "surface", "gt_occupancy", "gt_sdf"]
Encoding = Literal["color_density", "occupancy", "gap", "distance", "none"]
Density = Literal["fraction", "of_maximum"]


@dataclass(frozen=True)
class ConditioningConfig:
    """What the network is conditioned on besides the image (section 3.3, from least to most).

    Attributes:
        kind: "image" (2D features only), "visible" (points reprojected from the view's depth), "surface" (points of the
            cloud merged over all views), "gt_occupancy" or "gt_sdf" (grids of the true shape).
        encoding: grid made of the points: "color_density" (4 channels) or "occupancy" (1 channel); for visible points
            also "gap", a grid of the depth's gaps instead of points; for surface points also "distance", a grid of
            distances to them; for both also "none" (only readers use the points).
        density: fraction of all points in a cell, or that divided by the grid's largest, as in the paper's code.
        resolution: voxels per edge, 32 or 64 in the paper.
        num_points: largest number of visible points (15 000), or the number of surface points (300, 3000).
    """

    kind: Conditioning = "visible"
    encoding: Encoding = "color_density"
    density: Density = "fraction"
    resolution: int = 32
    num_points: int = 15_000

    def __post_init__(self) -> None:
        if self.resolution < 8 or self.resolution % 8:
            raise ConfigError(f"conditioning.resolution is {self.resolution}", "use a multiple of 8, such as 32 or 64")
        if self.num_points < 1:
            raise ConfigError(f"conditioning.num_points is {self.num_points}", "use at least 1")
        kinds = {"gap": ("visible",), "distance": ("surface",), "none": ("visible", "surface")}
        if self.kind not in kinds.get(self.encoding, (self.kind,)):
            raise ConfigError(
                f"conditioning.encoding is {self.encoding!r} where kind is {self.kind!r}",
                "gap needs visible points, distance needs surface points: use color_density or occupancy",
            )

    @property
    def has_gap_grid(self) -> bool:
        return self.kind == "visible" and self.encoding == "gap"

    def voxel_request(self) -> VoxelRequest | None:
        """The request to the data pipeline; None when it makes no grid."""
        if self.kind == "image" or self.encoding not in ("color_density", "occupancy"):
            return None
        return VoxelRequest(self.kind, self.encoding, self.resolution, self.num_points)


@dataclass(frozen=True)
class ReadsConfig:
    """What is read at a point in addition to maps and volumes. Lengths are clamped at each of their scales.

    Attributes:
        pixel: image at the projection: "rgb" as in the paper's published code, "rgba" with coverage.
        gap: depth at the projection minus the point's own, and whether anything is seen there.
        plane: distance to the plane of the surface seen there; with given surface points, to the plane through the
            nearest.
        nearest: nearest visible or given point: distance, distance to its plane, colour.
        direction: for given points, also the direction from the nearest one and the plane's normal.
        neighbors: for given points, how many of the nearest are read; the plane is fitted to them.
        silhouette: distance of the projection to the silhouette.
        sides: for a grid of distances, also the least distance on the way to the border, along both directions of each
            axis: how closed each side of a cell is.
        mirrored: whether all of the above is also read at (-x, y, z), with the mirror image of a grid of gaps or
            distances.
        gap_scales, plane_scales, distance_scales, grid_scales: scales in world units; the last is for a grid of
            distances.
        silhouette_scales: scales in half image sizes.
    """

    pixel: Literal["none", "rgb", "rgba"] = "none"
    gap: bool = False
    plane: bool = False
    nearest: bool = False
    direction: bool = False
    neighbors: int = 1
    silhouette: bool = False
    sides: bool = False
    mirrored: bool = False
    gap_scales: tuple[float, ...] = (0.1, 0.4)
    plane_scales: tuple[float, ...] = (0.01, 0.04)
    distance_scales: tuple[float, ...] = (0.05, 0.3)
    grid_scales: tuple[float, ...] = (0.1,)
    silhouette_scales: tuple[float, ...] = (0.06, 0.3)

    def __post_init__(self) -> None:
        for name in ("gap_scales", "plane_scales", "distance_scales", "grid_scales", "silhouette_scales"):
            scales = getattr(self, name)
            if not scales or min(scales) <= 0:
                raise ConfigError(f"reads.{name} is {list(scales)}", "use at least one positive length")
        if self.neighbors < 1:
            raise ConfigError(f"reads.neighbors is {self.neighbors}", "use at least 1")


@dataclass(frozen=True)
class PriorConfig:
    """Training shapes similar to the input, which a network may read and correct.

    They are part of the run's state, so a checkpoint reconstructs without the data set.

    Attributes:
        num_neighbors: shapes retrieved per input; 0 disables the prior.
        depth: whether shapes are compared with the surface visible in the depth instead of the silhouette.
        temperature: temperature of the average weighted by softmax(-d / temperature) of the distances d; a uniform
            average is read too.
        each: whether the network also reads each neighbour's distance, not only the averages.
        stretch: limit of the axis-wise stretch that fits the best candidates better, at most exp(stretch); 0 disables
            it.
        carve: whether the averages are carved by the silhouette, or by the depth's gaps.
        residual: whether the decoder's distance is added to the carved averages' distance.
        num_objects: largest number of stored training objects; each takes about 39 kB of a checkpoint.
    """

    num_neighbors: int = 0
    depth: bool = False
    temperature: float = 0.03
    each: bool = True
    stretch: float = 0.4
    carve: bool = True
    residual: bool = True
    num_objects: int = 1000

    def __post_init__(self) -> None:
        if self.num_neighbors < 0 or self.num_objects < 2:
            raise ConfigError(
                f"prior.num_neighbors {self.num_neighbors}, num_objects {self.num_objects}",
                "use 0 or more neighbours and at least 2 objects",
            )
        if self.temperature <= 0 or self.stretch < 0:
            raise ConfigError(
                f"prior.temperature {self.temperature}, stretch {self.stretch}",
                "use a positive temperature, such as 0.03, and a stretch of 0 or more",
            )


@dataclass(frozen=True)
class PretrainedConfig:
    """A pretrained image encoder, read in addition to the model's own.

    Attributes:
        name: "alexnet", "vgg16", "mobilenet_v2", "efficientnet_lite0", "torchvision:NAME" or "timm:NAME"; empty for
            none. ``networks.trunk_weights`` documents where weights are searched.
        frozen: whether its weights are fixed; otherwise they are the parameter group "encoder".
    """

    name: str = ""
    frozen: bool = True


@dataclass(frozen=True)
class FourierConfig:
    """Equation 1.

    Attributes:
        size: rows of B; the embedding is twice as wide. 0 uses the plain coordinates.
        scale: standard deviation sigma of B's entries.
    """

    size: int = 256
    scale: float = 0.8

    def __post_init__(self) -> None:
        if self.size < 0 or self.scale <= 0:
            raise ConfigError(
                f"fourier size {self.size}, scale {self.scale}", "use a size of 0 or more and a positive scale"
            )


@dataclass(frozen=True)
class ImplicitWeights:
    """Weights of equation 4 and of the terms added to it.

    Attributes:
        color: lambda_C.
        sdf: lambda_S.
        sign: weight of the cross entropy of inside and outside, with the logit -S / sign_scale; 0 in the paper.
        sign_scale: scale of the logit, world units.
        sign_inside: weight of the inside in it, relative to the outside; 1 / (expected IoU) maximises IoU.
        color_near: width, in world units, of the weight exp(-(S_GT / color_near)^2) of colour errors, since only a
            mesh's surface is seen; 0 weights all points equally, as the paper does.
    """

    color: float = 0.5
    sdf: float = 10.0
    sign: float = 0.0
    sign_scale: float = 0.01
    sign_inside: float = 1.0
    color_near: float = 0.0

    def __post_init__(self) -> None:
        if min(self.color, self.sdf, self.sign, self.color_near) < 0:
            raise ConfigError(
                f"weights color {self.color}, sdf {self.sdf}, sign {self.sign}, color_near {self.color_near}",
                "use weights of 0 or more",
            )
        if self.sign_scale <= 0:
            raise ConfigError(f"weights.sign_scale is {self.sign_scale}", "use a positive length, such as 0.01")
        if self.sign_inside <= 0:
            raise ConfigError(f"weights.sign_inside is {self.sign_inside}", "use a positive factor, such as 1.6")


@dataclass(frozen=True)
class ImplicitConfig:
    """The implicit SDF+RGB model.

    Attributes:
        image_px: side of the image that readers see.
        encoder_px: side of the image that the image encoder sees; 0 is image_px.
        encoder_inputs: inputs of the image encoder: colour on white, also with coverage, also with depth.
        backbone: untrained image encoder, or "none".
        image_width: width of the backbone's first stage, 64 in ResNet; smaller values make a thinner network of the
            same layout.
        image_features: channels per scale after reduction.
        voxel_width: channels of the 3D encoder's first stage.
        voxel_stride: stride of the 3D encoder's first convolution: 1 is IF-Net's, 2 is several times cheaper on a CPU.
        voxel_offset: distance, in world units, of further readings of the volumes along both directions of each axis:
            IF-Net's neighbourhood. 0 in the paper.
        hidden: width of the decoder's layers.
        points: supervised points per sample and step, the same number from every sigma.
        truncation: limit of the signed distance, clamped to [-truncation, truncation], world units.
        sdf_range: factor of the head's tanh: 1 in the paper; the truncation learns faster in few steps, but can
            saturate at "outside" where many points are far from the surface.
        colors: "predicted", or "mixed": a learned mixture of the readers' colours and the predicted one.
        residual: whether the head's distance is added to that of the conditioning grid.
        members: number of networks trained on the same samples, each from its own initial weights; their distances and
            colours are averaged. They differ where the input determines little, and their mean has a lower error.
        mirror: whether half of the training samples are mirrored: object, camera and images.
        prior, pretrained, reads, fourier, conditioning, weights: nested configs, see their classes.
    """

    image_px: int = 224
    encoder_px: int = 0
    encoder_inputs: Literal["rgb", "rgba", "rgbad"] = "rgb"
    backbone: Literal["none", "resnet18", "resnet34", "resnet50"] = "resnet50"
    image_width: int = 64
    image_features: int = 64
    voxel_width: int = 16
    voxel_stride: Literal[1, 2] = 1
    voxel_offset: float = 0.0
    hidden: int = 512
    points: int = 4096
    truncation: float = 0.1
    sdf_range: float = 1.0
    colors: Literal["predicted", "mixed"] = "predicted"
    residual: bool = False
    members: int = 1
    mirror: bool = False
    prior: PriorConfig = field(default_factory=PriorConfig)
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    reads: ReadsConfig = field(default_factory=ReadsConfig)
    fourier: FourierConfig = field(default_factory=FourierConfig)
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    weights: ImplicitWeights = field(default_factory=ImplicitWeights)

    def __post_init__(self) -> None:
        counts = ("image_px", "image_width", "image_features", "voxel_width", "hidden", "points", "members")
        require_at_least(self, 1, *counts, path="model.")
        if self.encoder_px < 0 or self.encoder_px > self.image_px:
            raise ConfigError(f"model.encoder_px is {self.encoder_px}", "use 0 (image_px), or at most image_px")
        if self.voxel_stride not in (1, 2):
            raise ConfigError(f"model.voxel_stride is {self.voxel_stride}", "use 1 or 2")
        if self.voxel_offset < 0:
            raise ConfigError(f"model.voxel_offset is {self.voxel_offset}", "use 0, or a length such as 0.02")
        if not 0 < self.truncation <= 1:
            raise ConfigError(f"model.truncation is {self.truncation}", "use a positive length; the paper has 0.1")
        if self.sdf_range < self.truncation:
            raise ConfigError(
                f"model.sdf_range is {self.sdf_range}, below the truncation {self.truncation}", "the paper has 1.0"
            )
        if self.needs_depth and self.conditioning.kind != "visible":
            raise ConfigError(
                f"the recipe reads the depth, but conditioning.kind is {self.conditioning.kind!r}",
                "set model.conditioning.kind=visible, or disable reads.gap, plane, nearest, prior.depth and the"
                " encoder's depth",
            )
        self._check_told_points()
        if self.residual and self.conditioning.kind not in ("gt_sdf", "gt_occupancy"):
            raise ConfigError(
                f"model.residual corrects a grid of the shape, but conditioning.kind is {self.conditioning.kind!r}",
                "set model.residual=false, or model.conditioning.kind=gt_sdf or gt_occupancy",
            )
        if self.residual and self.starts_from_prior:
            raise ConfigError(
                "model.residual and model.prior.residual are both true",
                "set one of them to false",
            )
        if self.colors == "mixed" and self.reads.pixel == "none" and not self.reads.nearest:
            raise ConfigError(
                "model.colors is mixed, but no reader has a colour", "enable reads.pixel or reads.nearest"
            )

    def _check_told_points(self) -> None:
        reads = self.reads
        if self.conditioning.kind != "surface":
            if reads.direction or reads.neighbors > 1 or reads.sides:
                raise ConfigError(
                    f"direction, neighbors and sides need given points, but conditioning.kind is "
                    f"{self.conditioning.kind!r}",
                    "set model.conditioning.kind=surface, or reads.direction=false neighbors=1 sides=false",
                )
            return
        if (reads.plane or reads.direction or reads.neighbors > 1) and not reads.nearest:
            raise ConfigError("planes and directions need the nearest given points", "set reads.nearest=true")
        if reads.plane and reads.neighbors < 3:
            raise ConfigError(
                f"a plane cannot be fitted to {reads.neighbors} points", "set reads.neighbors=8, or reads.plane=false"
            )
        if reads.sides and self.conditioning.encoding != "distance":
            raise ConfigError("reads.sides needs a grid of distances", "set model.conditioning.encoding=distance")

    @property
    def num_told_points(self) -> int:
        """Surface points passed to readers, in addition to any grid that the data pipeline makes of them."""
        told = self.conditioning.kind == "surface" and (self.reads.nearest or self.conditioning.encoding == "distance")
        return self.conditioning.num_points if told else 0

    @property
    def needs_depth(self) -> bool:
        """Whether samples must have a depth map."""
        reads = self.reads
        of_points = (reads.plane or reads.nearest) and self.conditioning.kind != "surface"
        of_shapes = self.prior.num_neighbors > 0 and self.prior.depth
        told_encoders = self.conditioning.has_gap_grid or self.encoder_inputs == "rgbad"
        return reads.gap or of_points or of_shapes or told_encoders

    @property
    def starts_from_prior(self) -> bool:
        return self.prior.num_neighbors > 0 and self.prior.residual

    @property
    def starts_from_told(self) -> bool:
        """Whether the decoder corrects a distance from a reader."""
        return self.residual or self.starts_from_prior

    @property
    def needs_mask_distance(self) -> bool:
        return self.reads.silhouette or (self.prior.num_neighbors > 0 and self.prior.carve and not self.prior.depth)
