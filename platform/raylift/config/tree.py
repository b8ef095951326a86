"""Frozen, typed trees of dataclasses: conversion to plain values and back, and overrides by dotted path."""

from __future__ import annotations

import dataclasses
import difflib
import json
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raylift.core.errors import ConfigError

T = TypeVar("T")
FREE = {"free": True}
"""Metadata of a field that does not decide what is learned: a resumed run may change it, and fingerprints omit it."""
DEFAULT_KEY = "default"
"""The entry of a mapping of groups that new entries are copied from."""
Leaf = str | int | float | bool | None


def free_paths(node: Any, path: str = "") -> list[str]:
    """Dotted paths of the values and groups that are marked ``FREE``."""
    found = []
    for field in dataclasses.fields(node):
        where, child = _join(path, field.name), getattr(node, field.name)
        if field.metadata.get("free"):
            found.append(where)
        elif dataclasses.is_dataclass(child):
            found += free_paths(child, where)
    return found


def to_dict(node: Any) -> Any:
    """The tree as dictionaries, lists and scalars, ready for JSON."""
    if dataclasses.is_dataclass(node):
        return {field.name: to_dict(getattr(node, field.name)) for field in dataclasses.fields(node)}
    if isinstance(node, Mapping):
        return {name: to_dict(value) for name, value in node.items()}
    return [to_dict(item) for item in node] if isinstance(node, list | tuple) else node


def from_dict(cls: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """Build ``cls`` from plain values; missing values take their defaults.

    Raises:
        ConfigError: an unknown name (with the nearest valid one), a value of the wrong type or an impossible one.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path or 'the recipe'} is {values!r}", f"use a mapping of {_names(cls)}")
    hints = _hints(cls)
    unknown = [name for name in values if name not in hints]
    if unknown:
        raise _unknown(_join(path, unknown[0]), [_join(path, name) for name in hints])
    built = {}
    for name, value in values.items():
        hint, where = hints[name], _join(path, name)
        built[name] = _built(hint, value, where)
    return _constructed(cls, built, path)


def flatten(node: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of dataclasses or mappings by its dotted path, in order."""
    if dataclasses.is_dataclass(node):
        node = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if not isinstance(node, Mapping):
        return {path: node}
    leaves: dict[str, Any] = {}
    for name, child in node.items():
        leaves |= flatten(child, _join(path, str(name)))
    return leaves


def override(node: T, assignments: Iterable[str]) -> T:
    """Apply ``path.to.value=text`` assignments, in order; text is JSON, or a bare word.

    Raises:
        ConfigError: not of that form, an unknown path, a wrong type, an impossible value.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise ConfigError(f"override {assignment!r} is not of the form path=value", "write model.weights.sdf=5")
        values[path.strip()] = _parsed(text.strip())
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
    hints = _hints(type(node))
    changes: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        name, dot, rest = target.partition(".")
        where = _join(path, name)
        if name not in hints:
            raise _unknown(_join(path, target), flatten(root))
        child = getattr(node, name)
        if dot and _is_group(child):
            nested.setdefault(name, {})[rest] = value
        elif dot:
            raise ConfigError(f"{where} is a single value and has no {rest!r}", f"set {where} itself")
        elif _is_group(child):
            raise ConfigError(f"{where} is a group of values", f"set one of {', '.join(flatten(child, where))}")
        else:
            changes[name] = _checked(hints[name], value, where)
    for name, below in nested.items():
        child, where = getattr(node, name), _join(path, name)
        replaced = _replaced_entries if isinstance(child, Mapping) else _replaced
        changes[name] = replaced(child, below, where, root)
    merged = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)} | changes
    return _constructed(type(node), merged, path)


def _replaced_entries(entries: Mapping[str, Any], values: dict[str, Any], path: str, root: Any) -> dict[str, Any]:
    """Groups of values by name. A new name starts as a copy of the default, including this call's changes to it."""
    below: dict[str, dict[str, Any]] = {}
    for target, value in values.items():
        name, dot, rest = target.partition(".")
        if not dot:
            raise ConfigError(f"{_join(path, name)} is a group of values", "set one of them, such as " + ", ".join(
                f"{_join(path, name)}.{leaf}" for leaf in flatten(entries[DEFAULT_KEY])
            ))  # fmt: skip
        below.setdefault(name, {})[rest] = value
    found = dict(entries)
    for name in sorted(below, key=lambda name: name != DEFAULT_KEY):
        found[name] = _replaced(found.get(name, found[DEFAULT_KEY]), below[name], _join(path, name), root)
    return found


def _is_group(child: Any) -> bool:
    return dataclasses.is_dataclass(child) or isinstance(child, Mapping)


def _built(hint: Any, value: Any, path: str) -> Any:
    if typing.get_origin(hint) in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}", "use a mapping")
        return {name: _built(typing.get_args(hint)[1], one, _join(path, name)) for name, one in value.items()}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value, path)
    return _checked(hint, value, path)


def _constructed(cls: type[T], values: Mapping[str, Any], path: str) -> T:
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{path or cls.__name__}: {error.problem}", error.remedy) from None


def _checked(hint: Any, value: Any, path: str) -> Any:
    # A bool for a number, or a number for a string, is a mistake even if Python would convert it.
    wants_bool = hint is bool
    if isinstance(value, bool) != wants_bool and not _is_optional_bool(hint):
        raise ConfigError(f"{path} is {value!r}", f"use {_described(hint)}")
    if typing.get_origin(hint) is tuple and isinstance(value, str):
        value = [value] if value else []
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
    except ValidationError:
        remedy = f"use {_described(hint)}"
        near = difflib.get_close_matches(
            str(value), [part for part in typing.get_args(hint) if isinstance(part, str)], n=1
        )
        raise ConfigError(f"{path} is {value!r}", remedy + (f"; did you mean {near[0]!r}?" if near else "")) from None


def _is_optional_bool(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) and bool in typing.get_args(hint)


def _described(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        parts = [part for part in typing.get_args(hint) if part is not ...]
        return "a list, such as [a, b], where each is " + _described(parts[0])
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}.get(hint, str(hint))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return [part.strip() for part in text.split(",")] if "," in text else text


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _names(cls: type) -> str:
    return ", ".join(_hints(cls))


def _unknown(path: str, valid: Iterable[str]) -> ConfigError:
    names = list(valid)
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.5) or [
        name for name in names if name.rpartition(".")[2] == path.rpartition(".")[2]
    ]
    hint = f"did you mean {near[0]!r}?" if near else f"valid names: {', '.join(names)}"
    return ConfigError(f"there is no {path!r} in the recipe", hint)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
