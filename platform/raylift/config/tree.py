"""Frozen, typed trees of dataclasses: their values by dotted path, and overrides. ``config.codec`` reads and writes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from raylift.config.codec import built, constructed, hints_of, join, unknown_name
from raylift.config.overrides import parse_override
from raylift.core.errors import ConfigError

T = TypeVar("T")
FREE = {"free": True}
"""Metadata of a field that does not decide what is learned: a resumed run may change it, and fingerprints omit it."""
LATER = {"later": True}
"""Metadata of a field added when runs existed: fingerprints omit it at its default, None, so that runs keep theirs."""
DEFAULT_KEY = "default"
"""The entry of a mapping of groups that new entries are copied from."""


def free_paths(node: Any, path: str = "") -> list[str]:
    """Dotted paths of the values and groups that are marked ``FREE``."""
    found = []
    for field in dataclasses.fields(node):
        where, child = join(path, field.name), getattr(node, field.name)
        if field.metadata.get("free"):
            found.append(where)
        elif dataclasses.is_dataclass(child):
            found += free_paths(child, where)
    return found


def later_paths(node: Any, path: str = "") -> list[str]:
    """Dotted paths of the values that are marked ``LATER``."""
    found = []
    for field in dataclasses.fields(node):
        where, child = join(path, field.name), getattr(node, field.name)
        if field.metadata.get("later"):
            found.append(where)
        elif dataclasses.is_dataclass(child):
            found += later_paths(child, where)
    return found


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of dataclasses or mappings by its dotted path, in order."""
    if dataclasses.is_dataclass(node):
        node = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if not isinstance(node, Mapping):
        return {path: node}
    leaves: dict[str, Any] = {}
    for name, child in node.items():
        leaves |= flatten(child, join(path, str(name)))
    return leaves


def override(node: T, assignments: Iterable[str]) -> T:
    """Apply ``path=value`` assignments, in order; see ``config.overrides``.

    Raises:
        ConfigError: not of that form, an unknown path, a wrong type, an impossible value.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        scope, path, value, text = parse_override(assignment)
        if scope:
            raise ConfigError(
                f"override {assignment!r} is for {scope!r}, which this command does not have", f"write {text}"
            )
        values[path] = value
    return override_values(node, values)


def override_values(node: T, values: Mapping[str, Any]) -> T:
    """Apply values by path, as a sweep has them. All are applied before the tree is checked as a whole, so that values
    that are only valid together can be given in any order."""
    return typing.cast(T, _replaced(node, dict(values), "", root=node))


def differences(left: Any, right: Any) -> dict[str, tuple[Any, Any]]:
    """Leaves that differ, by dotted path; a path that is missing on one side has the value None there."""
    ours, theirs = flatten(left), flatten(right)
    paths = list(dict.fromkeys([*ours, *theirs]))
    return {path: (ours.get(path), theirs.get(path)) for path in paths if ours.get(path) != theirs.get(path)}


def _replaced(node: Any, values: dict[str, Any], path: str, root: Any) -> Any:
    hints = hints_of(type(node))
    changes: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        name, dot, rest = target.partition(".")
        where = join(path, name)
        if name not in hints:
            raise unknown_name(join(path, target), flatten(root))
        child = getattr(node, name)
        if dot and _is_group(child):
            nested.setdefault(name, {})[rest] = value
        elif dot:
            raise ConfigError(f"{where} is a single value and has no {rest!r}", f"set {where} itself")
        elif _is_group(child):
            raise ConfigError(f"{where} is a group of values", f"set one of {', '.join(flatten(child, where))}")
        else:
            changes[name] = built(hints[name], _as_list(hints[name], value), where)
    for name, below in nested.items():
        child, where = getattr(node, name), join(path, name)
        replaced = _replaced_entries if isinstance(child, Mapping) else _replaced
        changes[name] = replaced(child, below, where, root)
    merged = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)} | changes
    return constructed(type(node), merged, path)


def _replaced_entries(entries: Mapping[str, Any], values: dict[str, Any], path: str, root: Any) -> dict[str, Any]:
    """Groups of values by name. A new name starts as a copy of the default, including this call's changes to it."""
    below: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        name, dot, rest = target.partition(".")
        if not dot:
            raise ConfigError(f"{join(path, name)} is a group of values", "set one of them, such as " + ", ".join(
                f"{join(path, name)}.{leaf}" for leaf in flatten(entries[DEFAULT_KEY])
            ))  # fmt: skip
        below.setdefault(name, {})[rest] = value
    found = dict(entries)
    for name in sorted(below, key=lambda name: name != DEFAULT_KEY):
        found[name] = _replaced(found.get(name, found[DEFAULT_KEY]), below[name], join(path, name), root)
    return found


def _is_group(child: Any) -> bool:
    return dataclasses.is_dataclass(child) or isinstance(child, Mapping)


def _as_list(hint: Any, value: Any) -> Any:
    """A bare word where a list is wanted is a list of one."""
    if typing.get_origin(hint) is tuple and isinstance(value, str):
        return [value] if value else []
    return value
