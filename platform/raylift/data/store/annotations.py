"""Names of an image collection's keypoints and parts, and their partners in a mirrored image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from raylift.core.errors import DataError

PartEncoding = Literal["labels", "probabilities"]

_SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])")
_OTHER = {"left": "right", "right": "left"}


@dataclass(frozen=True)
class Annotations:
    """Meaning of keypoints and parts, the same for every image of a data set.

    Attributes:
        keypoint_names: keypoint names, in the order of the stored rows.
        keypoint_mirror: keypoint k of a mirrored image is keypoint ``keypoint_mirror[k]`` of the image.
        part_names: part names, the background first.
        part_mirror: the same as ``keypoint_mirror``, for parts.
        part_encoding: one label per pixel, or one probability per part.
    """

    keypoint_names: tuple[str, ...] = ()
    keypoint_mirror: tuple[int, ...] = ()
    part_names: tuple[str, ...] = ()
    part_mirror: tuple[int, ...] = ()
    part_encoding: PartEncoding = "labels"

    def __post_init__(self) -> None:
        for names, mirror in (
            (self.keypoint_names, self.keypoint_mirror),
            (self.part_names, self.part_mirror),
        ):
            twice = [mirror[mirror[index]] if 0 <= mirror[index] < len(mirror) else -1 for index in range(len(mirror))]
            if len(names) != len(mirror) or twice != list(range(len(mirror))):
                raise DataError(
                    f"{mirror} does not mirror {len(names)} keypoints or parts",
                    "list the index of each one's partner, or its own index",
                )

    @staticmethod
    def of_keypoints(names: Sequence[str]) -> Annotations:
        """Match partners by name: ``left_eye`` and ``right_eye``, ``left wing`` and ``right wing``."""
        return Annotations(tuple(names), mirror_by_name(names))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def mirror_by_name(names: Sequence[str]) -> tuple[int, ...]:
    """For each name the index of the name with left and right exchanged, or its own if there is no such name."""
    lowered = [name.lower().replace("_", " ") for name in names]
    places = {name: index for index, name in enumerate(lowered)}
    return tuple(
        places.get(_SIDES.sub(lambda match: _OTHER[match.group()], name), index) for index, name in enumerate(lowered)
    )


def joined_annotations(parts: Sequence[Annotations]) -> Annotations:
    """The annotations of a data set with several sources; sources without annotations are ignored.

    Raises:
        DataError: two sources have different keypoints.
    """
    found = list(dict.fromkeys(part for part in parts if part != Annotations()))
    if len(found) > 1:
        raise DataError(
            f"the sources have different keypoints: {found[0].keypoint_names} and {found[1].keypoint_names}",
            "prepare them separately",
        )
    return found[0] if found else Annotations()
