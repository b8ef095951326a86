"""What preparing a data set makes of each object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from raylift.core.errors import ConfigError
from raylift.data.groups import parse_grouping
from raylift.data.splits import SplitRule
from raylift.rendering.lighting import LightingKind

ViewPlacement = Literal["random", "grid"]
"""Cameras drawn anew for each object, or the same equal steps of azimuth for all."""


@dataclass(frozen=True)
class IngestConfig:
    """Numbers of everything; the defaults are the papers'.

    Attributes:
        num_views: rendered views per object.
        views: "random" draws each object's cameras from all azimuths, by (seed, id); "grid" places every object's at
            the same equal steps of azimuth (the implicit paper's 30 views are 12 degrees apart), which flatters
            scores of poses.
        image_px: side of the views.
        elevation_range_deg: the views' elevations spread over it, evenly by area of the sphere.
        lighting: "fixed", "ambient", or "random" per object (the implicit paper names the fixed light as a flaw).
        sigmas: standard deviations of the noise that moves surface samples, object units.
        samples: supervised points at each sigma.
        cloud_points: the merged cloud keeps at most so many.
        surface_points: points with normals on the true surface.
        iou_points: uniform points with inside or outside.
        truth_resolution: cells an edge from which the true surface is extracted.
        scan_views: virtual depth views that decide inside and outside.
        scan_px: their side.
        objects_per_shard: a shard is what one task makes and what a restart keeps.
        val_share: share of the objects held out for validation, by a stable hash of the group.
        test_share: share held out for the test.
        val_objects, test_objects: objects of each category held out, in place of the shares; 0 and 0 use the shares.
        group_by: what is never divided between splits: "shape" (objects of one body, whatever their colours,
            textures and scale), "none", a column such as name or creator, or "id:PATTERN" (a regular expression).
        max_faces: a larger mesh is set aside.
        max_file_mib: a larger file is set aside.
        seed: of all draws.
    """

    num_views: int = 30
    views: ViewPlacement = "random"
    image_px: int = 224
    elevation_range_deg: tuple[float, float] = (5.0, 60.0)
    lighting: LightingKind = "random"
    sigmas: tuple[float, ...] = (0.1, 0.01)
    samples: int = 100_000
    cloud_points: int = 100_000
    surface_points: int = 100_000
    iou_points: int = 100_000
    truth_resolution: int = 256
    scan_views: int = 100
    scan_px: int = 384
    objects_per_shard: int = 4
    val_share: float = 0.1
    test_share: float = 0.2
    val_objects: int = 0
    test_objects: int = 0
    group_by: str = "shape"
    max_faces: int = 2_000_000
    max_file_mib: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("num_views", "image_px", "samples", "cloud_points", "surface_points", "iou_points", "scan_views")
        for name in (*counts, "objects_per_shard", "max_faces", "max_file_mib"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "give at least 1")
        if self.views not in get_args(ViewPlacement):
            raise ConfigError(f"views is {self.views!r}", f"give one of {', '.join(get_args(ViewPlacement))}")
        if not self.sigmas or min(self.sigmas) < 0:
            raise ConfigError(f"sigmas are {self.sigmas}", "give at least one, each 0 or more; IF-Net has 0.1 and 0.01")
        if self.truth_resolution < 32 or self.scan_px < 64:
            raise ConfigError(
                f"truth_resolution {self.truth_resolution}, scan_px {self.scan_px}", "give at least 32 and 64"
            )
        _ = self.split_rule
        parse_grouping(self.group_by)
        low, high = self.elevation_range_deg
        if not -90 <= low <= high <= 90:
            raise ConfigError(f"elevation_range_deg is {low}..{high}", "give degrees in order, within -90 and 90")

    @property
    def split_rule(self) -> SplitRule:
        """How many objects are held out."""
        return SplitRule(self.val_share, self.test_share, self.val_objects, self.test_objects)


TINY = IngestConfig(
    num_views=4,
    image_px=48,
    samples=2000,
    cloud_points=4000,
    surface_points=4000,
    iou_points=4000,
    truth_resolution=64,
    scan_views=40,
    scan_px=128,
)
"""About a third of a second an object: for tests and smoke runs."""


@dataclass(frozen=True)
class ImageIngestConfig:
    """What preparing an image collection makes of each image.

    Attributes:
        image_px: side of the stored square.
        box_padding: the object's box is stored with this share of its longer edge around it: room for crops to move in.
        keep_background: photographs keep what is around the silhouette; False stores the object alone.
        min_object_px: an object whose box's longer edge is shorter is set aside.
        max_megapixels: a larger image is set aside before it is decoded.
        max_file_mib: a larger file is set aside.
        objects_per_shard: a shard is what one task makes and what a restart keeps.
        val_share: share of the images held out for validation, by a stable hash of the group.
        test_share: share held out for the test.
        val_objects, test_objects: images of each category held out, in place of the shares; 0 and 0 use the shares.
        group_by: what is never divided between splits: "none" (but what the source groups, as the views of shapes),
            a column such as name or creator, or "id:PATTERN" (a regular expression).
        seed: of all draws.
    """

    image_px: int = 256
    box_padding: float = 0.2
    keep_background: bool = True
    min_object_px: int = 16
    max_megapixels: int = 100
    max_file_mib: int = 128
    objects_per_shard: int = 64
    val_share: float = 0.1
    test_share: float = 0.2
    val_objects: int = 0
    test_objects: int = 0
    group_by: str = "none"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("image_px", "min_object_px", "max_megapixels", "max_file_mib", "objects_per_shard"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "give at least 1")
        if not 0 <= self.box_padding <= 2:
            raise ConfigError(f"box_padding is {self.box_padding}", "give a share of the box's edge, such as 0.2")
        _ = self.split_rule
        if parse_grouping(self.group_by).kind == "shape":
            raise ConfigError("group_by is 'shape', but images have no shape", "group by a column or id:PATTERN")

    @property
    def split_rule(self) -> SplitRule:
        """How many objects are held out."""
        return SplitRule(self.val_share, self.test_share, self.val_objects, self.test_objects)


PrepareConfig = IngestConfig | ImageIngestConfig
"""The type decides which kind of data set is made."""
