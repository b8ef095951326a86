"""What a model may know of the data set that it is built for: counts that decide the sizes of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class DatasetInfo:
    """Facts that are the same on every rank, and that a checkpoint keeps, so that its model can be built again.

    Attributes:
        num_images: images of the training split that samples may show; ``image_index`` is less.
        keypoint_mirror: for each keypoint the one that it becomes in a mirror; empty where there are none.
        part_mirror: the same for parts, of which the first is the background.
    """

    num_images: int = 0
    keypoint_mirror: tuple[int, ...] = ()
    part_mirror: tuple[int, ...] = ()

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoint_mirror)

    @property
    def num_parts(self) -> int:
        """Parts with the background; 0 where the data set has no part maps."""
        return len(self.part_mirror)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> DatasetInfo:
        """The inverse of ``to_dict``; what is missing takes its default."""
        filled: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return DatasetInfo(**filled)
