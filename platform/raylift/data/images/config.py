"""What preparing an image collection makes of each image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raylift.core.errors import ConfigError
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import parse_grouping
from raylift.data.store.manifest import DataKind


@dataclass(frozen=True)
class ImagesConfig(PrepareConfig):
    """What preparing an image collection makes of each image.

    Attributes:
        image_px: side of the stored square.
        box_padding: the object's box is stored with this share of its longer edge around it: room for crops to move in.
        keep_background: photographs keep what is around the silhouette; False stores the object alone.
        min_object_px: an object whose box's longer edge is shorter is set aside.
        max_megapixels: a larger image is set aside before it is decoded.
        group_by: what is never divided between splits: "none" (but what the source groups, as the views of shapes),
            a column such as name or creator, or "id:PATTERN" (a regular expression).
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
                raise ConfigError(f"{name} is {getattr(self, name)}", "give at least 1")
        if not 0 <= self.box_padding <= 2:
            raise ConfigError(f"box_padding is {self.box_padding}", "give a share of the box's edge, such as 0.2")
        if parse_grouping(self.group_by).kind == "shape":
            raise ConfigError("group_by is 'shape', but images have no shape", "group by a column or id:PATTERN")
