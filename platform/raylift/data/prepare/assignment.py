"""Assigns groups and splits to a data set's objects, once all its shards are made.

Only then are the usable objects and those that share a body known. So counts refer to usable objects, and changing the
split list rebuilds no shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from raylift.core.errors import DataError
from raylift.data.prepare.config import PrepareConfig
from raylift.data.prepare.groups import Grouping, divided_groups, linked, members_of, parse_grouping
from raylift.data.prepare.shards import ShardRecord
from raylift.data.prepare.splits import Member, assign_splits, listed_split
from raylift.data.shapes.bodies import same_bodies
from raylift.data.sources.base import SourceItem
from raylift.data.store.manifest import ObjectEntry

MOST_IN_A_GROUP = 0.2
"""Fraction of the objects in one group above which a warning is issued: the grouping may be wrong."""


def assigned_entries(
    records: Sequence[ShardRecord],
    items: Mapping[str, SourceItem],
    listed_splits: Mapping[str, str] | None,
    config: PrepareConfig,
) -> tuple[list[ObjectEntry], list[str]]:
    """The usable objects with their groups and splits, and notes on both.

    Args:
        items: items by id; at least those that the records name.
        listed_splits: split by id; None uses the source's split or the configuration.

    Raises:
        DataError: the split list divides a group.
    """
    entries = [entry for record in records for entry in record.entries]
    groups = _grouped(records, items, parse_grouping(config.group_by))
    members = [
        Member(entry.id, groups[entry.id], entry.category, listed_split(entry.id, items[entry.id].split, listed_splits))
        for entry in entries
    ]
    splits, notes = assign_splits(members, config.split_rule)

    def shown(ids: Sequence[str]) -> str:
        return ", ".join(f"{one} ({splits[one]})" for one in ids[:6]) + (", ..." if len(ids) > 6 else "")

    divided = divided_groups(groups, splits)
    if divided and listed_splits is not None:
        raise DataError(
            f"the split list divides {len(divided)} groups of --group-by {config.group_by}, such as "
            f"{shown(divided[0][1])}",
            "put each group into one split; to divide groups on purpose, pass --group-by none",
        )
    notes += [f"the source divides what --group-by {config.group_by} groups: {shown(ids)}" for _, ids in divided]
    largest = max(members_of(groups).values(), key=len, default=())
    if len(largest) > max(4, MOST_IN_A_GROUP * len(entries)):
        notes.append(f"one group holds {len(largest)} of {len(entries)} objects: {shown(largest)}; check --group-by")
    return [replace(entry, split=splits[entry.id], group=groups[entry.id]) for entry in entries], notes


def _grouped(records: Sequence[ShardRecord], items: Mapping[str, SourceItem], grouping: Grouping) -> dict[str, str]:
    """The group of each usable object, by id."""
    ids = sorted(entry.id for record in records for entry in record.entries)
    if grouping.name_of is not None:
        return {name: grouping.name_of(items[name]) for name in ids}
    bodies = dict(pair for record in records for pair in record.bodies)
    return linked(ids, same_bodies([bodies[name] for name in ids]))
