"""Settings for preparing an image collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raylift.core.errors import ConfigError
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import parse_grouping
from raylift.data.store.manifest import DataKind


@dataclass(frozen=True)
class ImagesConfig(PrepareConfig):
    """Settings for preparing an image collection.

    Attributes:
        image_px: side of the stored square, pixels.
        box_padding: margin stored around the object's box, as a fraction of its longer edge: room for jittered crops.
        keep_background: whether photographs keep the pixels around the silhouette; False stores the object alone.
        min_object_px: shortest longer edge of an object's box; a smaller object is set aside.
        max_megapixels: size limit; a larger image is set aside before it is decoded.
        group_by: grouping that splits never divide: "none" (only what the source groups, such as the views of a
            shape), a column such as name or creator, or "id:PATTERN" (a regular expression).
    """

    kind: ClassVar[DataKind] = "images"

    image_px: int = 256
    box_padding: float = 0.2
    keep_background: bool = True
    min_object_px: int = 16
    max_megapixels: int = 100
    max_file_mib: int = 128
    objects_per_shard: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_px", "min_object_px", "max_megapixels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}", "use 1 or more")
        if not 0 <= self.box_padding <= 2:
            raise ConfigError(f"box_padding is {self.box_padding}", "use a fraction of the box's edge, such as 0.2")
        if parse_grouping(self.group_by).kind == "shape":
            raise ConfigError("group_by is 'shape', but images have no shape", "group by a column or id:PATTERN")
