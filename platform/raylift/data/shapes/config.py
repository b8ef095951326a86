"""Settings for preparing a data set of shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from raylift.core.errors import ConfigError
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import parse_grouping
from raylift.data.shapes.orientation import ObjectRotation
from raylift.data.store.manifest import DataKind
from raylift.rendering.lighting import LightingKind

ViewPlacement = Literal["random", "grid"]
"""Cameras drawn per object, or the same equal azimuth steps for all objects."""


@dataclass(frozen=True)
class ShapesConfig(PrepareConfig):
    """Settings for preparing a data set of shapes; the defaults follow the papers.

    Attributes:
        num_views: rendered views per object.
        views: camera placement: "random" draws each object's cameras from all azimuths, keyed by (seed, id); "grid"
            uses the same equal azimuth steps for every object (the implicit paper's 30 views are 12 degrees apart),
            which inflates pose scores.
        image_px: side of the views, pixels.
        elevation_range_deg: range of the views' elevations, spread evenly by area of the sphere.
        rotation: rotation of each object before it is normalised and rendered, drawn by (seed, id): "none" keeps it
            upright as its source has it, "vertical" turns it about the vertical axis, "so3" is uniform over all
            rotations. Copies of one body are grouped as if unrotated.
        lighting: light of the views: "fixed", "ambient", or "random" per object (the implicit paper names the fixed
            light as a flaw).
        sigmas: standard deviations of the noise added to surface samples, object units.
        samples: supervised points per sigma.
        cloud_points: maximum number of points in the merged cloud.
        surface_points: points with normals on the true surface.
        iou_points: uniform points labelled inside or outside.
        truth_resolution: cells per edge of the grid that the true surface is extracted from.
        scan_views: virtual depth views that decide inside and outside.
        scan_px: side of these depth views, pixels.
        group_by: grouping that splits never divide: "shape" (objects with the same body, whatever their colours,
            textures and scale), "none", a column such as name or creator, or "id:PATTERN" (a regular expression).
        max_faces: face limit; a larger mesh is set aside.
    """

    kind: ClassVar[DataKind] = "shapes"

    num_views: int = 30
    views: ViewPlacement = "random"
    image_px: int = 224
    elevation_range_deg: tuple[float, float] = (5.0, 60.0)
    rotation: ObjectRotation = "none"
    lighting: LightingKind = "random"
    sigmas: tuple[float, ...] = (0.1, 0.01)
    samples: int = 100_000
    cloud_points: int = 100_000
    surface_points: int = 100_000
    iou_points: int = 100_000
    truth_resolution: int = 256
    scan_views: int = 100
    scan_px: int = 384
    group_by: str = "shape"
    max_faces: int = 2_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_views", "image_px", "samples", "cloud_points", "surface_points", "iou_points", "scan_views")
        for name in (*counts, "max_faces"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "use 1 or more")
        if self.views not in get_args(ViewPlacement):
            raise ConfigError(f"views is {self.views!r}", f"use one of {', '.join(get_args(ViewPlacement))}")
        if self.rotation not in get_args(ObjectRotation):
            raise ConfigError(f"rotation is {self.rotation!r}", f"use one of {', '.join(get_args(ObjectRotation))}")
        if not self.sigmas or min(self.sigmas) < 0:
            raise ConfigError(f"sigmas are {self.sigmas}", "use at least one, each 0 or more; IF-Net uses 0.1 and 0.01")
        if self.truth_resolution < 32 or self.scan_px < 64:
            raise ConfigError(
                f"truth_resolution {self.truth_resolution}, scan_px {self.scan_px}", "use at least 32 and 64"
            )
        parse_grouping(self.group_by)
        low, high = self.elevation_range_deg
        if not -90 <= low <= high <= 90:
            raise ConfigError(f"elevation_range_deg is {low}..{high}", "use ascending degrees within -90 and 90")


TINY = ShapesConfig(
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
"""About a third of a second per object: for tests and smoke runs."""
