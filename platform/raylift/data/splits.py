"""Which objects train, validate and test: by a stable hash of the id, or by a given list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from raylift.core.errors import DataError
from raylift.core.generators import stable_hash
from raylift.data.manifest import SPLITS


def hashed_split(object_id: str, val_share: float, test_share: float) -> str:
    """The split of an id: the same on every machine, and not moved by what else is in the data set."""
    share = stable_hash("split", object_id) / float(1 << 63)
    if share < test_share:
        return "test"
    return "val" if share < test_share + val_share else "train"


def read_split_file(path: Path) -> dict[str, str]:
    """A list of splits: JSON ``{"train": [ids], "val": [...], "test": [...]}``, or text with ``id split`` a line.

    Raises:
        DataError: unreadable, an unknown split, or an id in two of them.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise DataError(f"the split list {path} cannot be read: {error}", "check --split-file") from error
    try:
        pairs = _pairs(text)
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(
            f"the split list {path} is damaged: {error}",
            'write {"train": [ids], "val": [ids], "test": [ids]} or "id split"',
        ) from error
    splits: dict[str, str] = {}
    for object_id, split in pairs:
        if split not in SPLITS:
            raise DataError(f"{path} puts {object_id!r} into split {split!r}", f"the splits are {', '.join(SPLITS)}")
        if splits.setdefault(object_id, split) != split:
            raise DataError(f"{path} puts {object_id!r} into both {splits[object_id]} and {split}", "keep one of them")
    return splits


def _pairs(text: str) -> list[tuple[str, str]]:
    if text.lstrip().startswith("{"):
        return [(str(object_id), split) for split, ids in json.loads(text).items() for object_id in ids]
    pairs = []
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            object_id, _, split = line.strip().rpartition(" ")
            if not object_id:
                raise ValueError(f"line {line!r} is not 'id split'")
            pairs.append((object_id.strip(), split))
    return pairs


def split_of(
    object_id: str, prescribed: str, listed: Mapping[str, str] | None, val_share: float, test_share: float
) -> str:
    """The list decides where there is one, then the source, then the hash.

    Raises:
        DataError: there is a list and the object is not on it.
    """
    if listed is not None:
        if object_id not in listed:
            raise DataError(f"the split list does not name {object_id}", "add it, or leave --split-file out")
        return listed[object_id]
    return prescribed or hashed_split(object_id, val_share, test_share)
