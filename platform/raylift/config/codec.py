"""Dataclasses as JSON: the one way in which recipes, sweeps, tables and records are written and read.

Reading is strict: unknown names, wrong types and missing or impossible values are errors with their path and a remedy.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raylift.core.errors import ConfigError

T = TypeVar("T")


def to_dict(node: Any) -> Any:
    """The tree as dictionaries, lists and scalars, ready for JSON."""
    if dataclasses.is_dataclass(node):
        return {field.name: to_dict(getattr(node, field.name)) for field in dataclasses.fields(node)}
    if isinstance(node, Mapping):
        return {name: to_dict(value) for name, value in node.items()}
    return [to_dict(item) for item in node] if isinstance(node, list | tuple) else node


def read_json(cls: type[T], text: str | bytes, is_record: bool = False) -> T:
    """Build ``cls`` from JSON.

    Args:
        is_record: whether a program wrote the text, not a person: NaN is allowed, unknown names are ignored.

    Raises:
        ConfigError: not JSON, or what ``from_dict`` refuses.
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"invalid JSON: {error}", "see a file that works for the form") from None
    return from_dict(cls, values, is_record=is_record)


def from_dict(cls: type[T], values: Any, path: str = "", is_record: bool = False) -> T:
    """Build ``cls`` from plain values; missing values take their defaults.

    A class with a method ``from_dict`` of its own reads itself.

    Args:
        path: path of the values, for errors.
        is_record: see ``read_json``.

    Raises:
        ConfigError: an unknown name (with the nearest valid one), a missing or wrong value, or what the class refuses.
    """
    hints = hints_of(cls)
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path or 'it'} is {values!r}", f"use a mapping of {', '.join(hints)}")
    unknown = [name for name in values if name not in hints]
    if unknown and not is_record:
        raise unknown_name(join(path, unknown[0]), [join(path, name) for name in hints])
    for name in _required(typing.cast(Any, cls)):
        if name not in values:
            raise ConfigError(f"{join(path, name)} is missing", f"use {described(hints[name])}")
    known = {
        name: built(hints[name], value, join(path, name), is_record) for name, value in values.items() if name in hints
    }
    return constructed(cls, known, path)


def built(hint: Any, value: Any, path: str, is_record: bool = False) -> Any:
    """A value of any type that a field may have, from plain values."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if hasattr(hint, "from_dict"):
            return hint.from_dict(value)
        return from_dict(hint, value, path, is_record)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}", "use a mapping")
        return {name: built(parts[1], one, join(path, name), is_record) for name, one in value.items()}
    if origin is tuple and isinstance(value, list | tuple):
        each = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
        if len(each) != len(value):
            raise ConfigError(f"{path} is {value!r}", f"use {len(each)} values")
        return tuple(
            built(one, item, f"{path}[{index}]", is_record)
            for index, (one, item) in enumerate(zip(each, value, strict=True))
        )
    return checked(hint, value, path, is_record)


def constructed(cls: type[T], values: Mapping[str, Any], path: str) -> T:
    """``cls`` from checked values; what it refuses is an error with the path."""
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.problem}" if path else error.problem, error.remedy) from None


def checked(hint: Any, value: Any, path: str, is_record: bool = False) -> Any:
    """A single value or a list of them, of the type that the hint says.

    Raises:
        ConfigError: another type. A bool for a number or a number for a string is a mistake too.
    """
    if type(value) is hint and hint is not float:
        return value
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return _adapter(hint, is_record).validate_python(value, strict=True)
    except ValidationError:
        literals = [part for part in typing.get_args(hint) if isinstance(part, str)]
        near = difflib.get_close_matches(str(value), literals, n=1)
        hinted = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{path} is {value!r}", f"use {described(hint)}{hinted}") from None


def described(hint: Any) -> str:
    """What a value of a type is, in words."""
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return "a list, such as [a, b], where each is " + described(typing.get_args(hint)[0])
    if dataclasses.is_dataclass(hint):
        return "a mapping of " + ", ".join(hints_of(hint))
    return {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}.get(hint, str(hint))


def unknown_name(path: str, valid: Iterable[str]) -> ConfigError:
    """The error of a path that does not exist, with the nearest one that does."""
    names = list(valid)
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.5) or [
        name for name in names if name.rpartition(".")[2] == path.rpartition(".")[2]
    ]
    hint = f"did you mean {near[0]!r}?" if near else f"valid names: {', '.join(names)}"
    return ConfigError(f"there is no {path!r}", hint)


def hints_of(cls: Any) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    return _hints(cls)


def join(path: str, name: str) -> str:
    """The path of a name in the group at ``path``."""
    return f"{path}.{name}" if path else name


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


@cache
def _adapter(hint: Any, is_record: bool) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=is_record))


@cache
def _required(cls: Any) -> tuple[str, ...]:
    missing = dataclasses.MISSING
    return tuple(
        field.name for field in dataclasses.fields(cls) if field.default is missing and field.default_factory is missing
    )
