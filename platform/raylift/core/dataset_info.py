"""What a model may know about its data set: counts that set the sizes of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that are the same on every rank. A checkpoint stores them, so that its model can be rebuilt.

    Attributes:
        num_images: number of training images that samples may show; every ``image_index`` is smaller.
        keypoint_mirror: for each keypoint, the index of its mirror image; empty without keypoints.
        part_mirror: the same for parts; part 0 is the background.
        categories: names of the training split's categories, sorted; a sample's ``category`` is an index into them.
        num_objects: number of training objects.
    """

    num_images: int = 0
    keypoint_mirror: tuple[int, ...] = ()
    part_mirror: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()
    num_objects: int = 0

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoint_mirror)

    @property
    def num_parts(self) -> int:
        """Number of parts, including the background; 0 if the data set has no part maps."""
        return len(self.part_mirror)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> DatasetInfo:
        """The inverse of ``to_dict``; missing values take their defaults."""
        filled: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return DatasetInfo(**filled)
