"""What preparing a data set of shapes makes of each object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from raylift.core.errors import ConfigError
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import parse_grouping
from raylift.data.store.manifest import DataKind
from raylift.rendering.lighting import LightingKind

ViewPlacement = Literal["random", "grid"]
"""Cameras drawn anew for each object, or the same equal steps of azimuth for all."""


@dataclass(frozen=True)
class ShapesConfig(PrepareConfig):
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
        group_by: what is never divided between splits: "shape" (objects of one body, whatever their colours,
            textures and scale), "none", a column such as name or creator, or "id:PATTERN" (a regular expression).
        max_faces: a larger mesh is set aside.
    """

    kind: ClassVar[DataKind] = "shapes"

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
    group_by: str = "shape"
    max_faces: int = 2_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("num_views", "image_px", "samples", "cloud_points", "surface_points", "iou_points", "scan_views")
        for name in (*counts, "max_faces"):
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
        parse_grouping(self.group_by)
        low, high = self.elevation_range_deg
        if not -90 <= low <= high <= 90:
            raise ConfigError(f"elevation_range_deg is {low}..{high}", "give degrees in order, within -90 and 90")


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
"""About a third of a second an object: for tests and smoke runs."""
