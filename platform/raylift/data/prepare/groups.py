"""Groups of objects that splits must not divide, such as recoloured copies of one body."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raylift.core.errors import ConfigError
from raylift.data.sources.base import SourceItem

GROUP_COLUMNS = ("name", "category", "creator", "licence", "style", "material", "reference")
_REMEDY = f"use shape (meshes), none, id:PATTERN, or a column: {', '.join(GROUP_COLUMNS)}"


@dataclass(frozen=True)
class Grouping:
    """The parsed value of ``--group-by``.

    Attributes:
        kind: "shape" compares geometry after objects are read; "name" derives each item's group directly.
        name_of: returns an item's group; None for "shape".
    """

    kind: Literal["shape", "name"]
    name_of: Callable[[SourceItem], str] | None = None


def parse_grouping(text: str) -> Grouping:
    """The grouping of ``--group-by``.

    * ``shape``: objects whose bodies are equal except for colours, textures and the scale of each axis.
    * ``none``: each object is its own group, unless its source groups it.
    * ``id:PATTERN``: a regular expression searched for in the id; its first capture group (or the whole match, without
      one) is the group. An id without a match is its own group.
    * a column, such as ``name`` or ``creator``; objects where it is empty are their own groups.

    Raises:
        ConfigError: anything else, or an invalid regular expression.
    """
    if text == "shape":
        return Grouping("shape")
    if text == "none":
        return Grouping("name", lambda item: item.group or item.id)
    if text in GROUP_COLUMNS:
        return Grouping("name", lambda item: str(getattr(item, text)) or item.id)
    if text.startswith("id:"):
        try:
            pattern = re.compile(text[3:])
        except re.error as error:
            raise ConfigError(f"group_by {text!r} is not a regular expression: {error}", _REMEDY) from error
        return Grouping("name", lambda item: _matched(pattern, item.id))
    raise ConfigError(f"group_by is {text!r}", _REMEDY)


def _matched(pattern: re.Pattern[str], object_id: str) -> str:
    found = pattern.search(object_id)
    if found is None:
        return object_id
    return (found.group(1) if pattern.groups else found.group(0)) or object_id


def divided_groups(groups: Mapping[str, str], splits: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    """Groups with members in more than one split, each with its members.

    Args:
        groups: group by id.
        splits: split by id.
    """
    return [
        (group, members)
        for group, members in sorted(members_of(groups).items())
        if len({splits[member] for member in members}) > 1
    ]


def members_of(groups: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Sorted ids by group."""
    found: dict[str, list[str]] = {}
    for object_id in sorted(groups):
        found.setdefault(groups[object_id], []).append(object_id)
    return {group: tuple(members) for group, members in found.items()}


def linked(ids: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, str]:
    """Group by id, from index pairs of ``ids`` that belong together; a group is named by its smallest id."""
    parents = list(range(len(ids)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for one, other in pairs:
        first, second = sorted((root(one), root(other)), key=lambda index: ids[index])
        parents[second] = first
    return {object_id: ids[root(index)] for index, object_id in enumerate(ids)}
