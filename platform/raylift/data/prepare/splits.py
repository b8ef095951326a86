"""Splits objects into training, validation and test sets, by a stable hash of the id or by a list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import stable_hash
from raylift.core.inputs.limits import refuse_large_file
from raylift.data.store.manifest import SPLITS


def hashed_split(object_id: str, val_share: float, test_share: float) -> str:
    """The split of an id: the same on every machine, and independent of the other objects in the data set."""
    share = stable_hash("split", object_id) / float(1 << 63)
    if share < test_share:
        return "test"
    return "val" if share < test_share + val_share else "train"


def read_split_file(path: Path) -> dict[str, str]:
    """Read a split list: JSON ``{"train": [ids], "val": [...], "test": [...]}``, or text with an ``id split`` per line.

    Raises:
        DataError: unreadable, an unknown split, or an id in two splits.
    """
    refuse_large_file(path)
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
            raise DataError(f"{path} puts {object_id!r} into split {split!r}", f"use one of {', '.join(SPLITS)}")
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


def listed_split(object_id: str, prescribed: str, listed: Mapping[str, str] | None) -> str:
    """The split prescribed by the list if given, else by the source; empty if by neither.

    Raises:
        DataError: a list is given and the object is not on it.
    """
    if listed is None:
        return prescribed
    if object_id not in listed:
        raise DataError(f"the split list does not name {object_id}", "add it, or omit --split-file")
    return listed[object_id]


@dataclass(frozen=True)
class SplitRule:
    """The number of held-out objects: fractions of all groups, or counts per category.

    Attributes:
        val_share, test_share: fractions of the groups, by a stable hash.
        val_objects, test_objects: objects per category, used instead of the fractions if either is above 0. At least a
            third of each category is kept for training, so small categories may hold out fewer.
    """

    val_share: float
    test_share: float
    val_objects: int = 0
    test_objects: int = 0

    def __post_init__(self) -> None:
        if min(self.val_share, self.test_share) < 0 or self.val_share + self.test_share >= 1:
            raise ConfigError(
                f"val_share {self.val_share} and test_share {self.test_share}",
                "use fractions that leave some objects for training",
            )
        if min(self.val_objects, self.test_objects) < 0:
            raise ConfigError(
                f"val_objects {self.val_objects} and test_objects {self.test_objects}",
                "use counts of 0 or more",
            )

    @property
    def counts(self) -> bool:
        """Whether counts replace the fractions."""
        return bool(self.val_objects or self.test_objects)


@dataclass(frozen=True)
class Member:
    """An object to be split: its group, the category it counts towards, and its prescribed split ("" for none)."""

    id: str
    group: str
    category: str
    prescribed: str = ""


def assign_splits(members: Sequence[Member], rule: SplitRule) -> tuple[dict[str, str], list[str]]:
    """The split of each object, and notes on categories that hold out fewer objects than requested.

    No group is divided unless a prescription divides it. With fractions, a group's split depends on its name alone;
    with counts, a category's splits depend on its own groups alone, not on other categories. The exception: if a
    group has members in several categories that disagree, it is held out (test before val before train).
    A group with a prescribed member follows that member and is not drawn.
    """
    prescribed: dict[str, str] = {}
    for member in members:
        if member.prescribed:
            prescribed[member.group] = _most_held_out(prescribed.get(member.group, "train"), member.prescribed)
    free = [member for member in members if member.group not in prescribed]
    drawn, notes = _by_counts(free, rule) if rule.counts else (_by_shares(free, rule), [])
    splits = {}
    for member in members:
        splits[member.id] = member.prescribed or prescribed.get(member.group) or drawn[member.group]
    return splits, notes


def _most_held_out(one: str, other: str) -> str:
    return max(one, other, key=SPLITS.index)  # train, val, test


def _by_shares(members: Sequence[Member], rule: SplitRule) -> dict[str, str]:
    return {
        group: hashed_split(group, rule.val_share, rule.test_share) for group in {member.group for member in members}
    }


def _by_counts(members: Sequence[Member], rule: SplitRule) -> tuple[dict[str, str], list[str]]:
    ids = {member.id for member in members}
    by_category: dict[str, dict[str, list[str]]] = {}
    for member in members:
        by_category.setdefault(member.category, {}).setdefault(member.group, []).append(member.id)
    drawn: dict[str, str] = {}
    notes = []
    for category, groups in sorted(by_category.items()):
        asked = {"test": rule.test_objects, "val": rule.val_objects}
        wanted = _within_limit(asked, sum(map(len, groups.values())))
        # A group may be named by a member of another category: use its member of this category as the key.
        keys = {group: min(groups[group]) if group in ids else group for group in groups}
        chosen = _drawn_of_category(groups, keys, wanted)
        for group in groups:
            drawn[group] = _most_held_out(drawn.get(group, "train"), chosen.get(group, "train"))
        held = {split: sum(len(groups[group]) for group in chosen if chosen[group] == split) for split in asked}
        if held != asked:
            notes.append(
                f"{category} holds out {held['test']} test and {held['val']} val objects instead of {asked['test']} "
                f"and {asked['val']}: it has {sum(map(len, groups.values()))} objects in {len(groups)} groups"
            )
    return drawn, notes


def _within_limit(asked: Mapping[str, int], num_objects: int) -> dict[str, int]:
    """Counts that leave a third of the objects for training; the test set keeps its proportion, rounded up."""
    limit, total = 2 * num_objects // 3, sum(asked.values())
    if total <= limit:
        return dict(asked)
    test = -(-limit * asked["test"] // total)
    return {"test": test, "val": limit - test}


def _drawn_of_category(
    groups: Mapping[str, Sequence[str]], keys: Mapping[str, str], wanted: Mapping[str, int]
) -> dict[str, str]:
    """Choose whole groups in the order of their keys' hash: test objects from the front, val objects from the back, so
    that held-out objects stay held out when a count grows. A group that would exceed the count is skipped."""
    order = sorted(groups, key=lambda group: (stable_hash("split", keys[group]), keys[group]))
    chosen: dict[str, str] = {}
    for split, sequence in (("test", order), ("val", order[::-1])):
        missing = wanted[split]
        for group in sequence:
            if group not in chosen and len(groups[group]) <= missing:
                chosen[group] = split
                missing -= len(groups[group])
    return chosen
