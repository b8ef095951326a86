"""What the keypoints and part maps of an image collection mean: names, and who becomes whom in a mirror."""

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
    """The same for every image of a data set.

    Attributes:
        keypoint_names: in the order of the stored rows.
        keypoint_mirror: keypoint k of a mirrored image is keypoint ``keypoint_mirror[k]`` of the image.
        part_names: the background first.
        part_mirror: the same for parts.
        part_encoding: maps hold a label a pixel, or a probability a part.
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
                    "give for each the index of its partner, or its own",
                )

    @staticmethod
    def of_keypoints(names: Sequence[str]) -> Annotations:
        """Partners are found by their names: ``left_eye`` and ``right_eye``, ``left wing`` and ``right wing``."""
        return Annotations(tuple(names), mirror_by_name(names))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def mirror_by_name(names: Sequence[str]) -> tuple[int, ...]:
    """For each name the index of the name with left and right exchanged, or its own where there is none."""
    lowered = [name.lower().replace("_", " ") for name in names]
    places = {name: index for index, name in enumerate(lowered)}
    return tuple(
        places.get(_SIDES.sub(lambda match: _OTHER[match.group()], name), index) for index, name in enumerate(lowered)
    )


def joined_annotations(parts: Sequence[Annotations]) -> Annotations:
    """Of a data set out of several sources: what those that have any agree on.

    Raises:
        DataError: two sources have different keypoints.
    """
    found = list(dict.fromkeys(part for part in parts if part != Annotations()))
    if len(found) > 1:
        raise DataError(
            f"the sources have different keypoints: {found[0].keypoint_names} and {found[1].keypoint_names}",
            "prepare them apart",
        )
    return found[0] if found else Annotations()
