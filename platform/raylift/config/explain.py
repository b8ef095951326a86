"""Every value of a config tree with its type and its sentence, as the dataclasses' docstrings have it."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from docstring_parser import DocstringStyle, parse

from raylift.config.codec import hints_of, join, to_dict
from raylift.config.overrides import parse_value


@dataclass(frozen=True)
class Explained:
    """One value of a tree.

    Attributes:
        path: dotted path.
        value: as an override has it: JSON, or a bare word.
        type: short name of its type, such as ``int`` or ``"max" | "min"``.
        meaning: its sentence; "" if the docstring has none.
        is_free: whether it may change when a run resumes, because it does not decide what is learned.
    """

    path: str
    value: str
    type: str
    meaning: str
    is_free: bool


def explain(node: Any, path: str = "", is_free: bool = False) -> Iterator[Explained]:
    """Every value of a tree of dataclasses and mappings, in order."""
    if isinstance(node, Mapping):
        for name, child in node.items():
            yield from explain(child, join(path, str(name)), is_free)
        return
    cls: Any = type(node)
    hints, meanings = hints_of(cls), field_meanings(cls)
    for field in dataclasses.fields(node):
        child, where = getattr(node, field.name), join(path, field.name)
        free = is_free or bool(field.metadata.get("free"))
        if dataclasses.is_dataclass(child) or isinstance(child, Mapping):
            yield from explain(child, where, free)
        else:
            yield Explained(where, shown(child), type_name(hints[field.name]), meanings.get(field.name, ""), free)


@cache
def field_meanings(cls: Any) -> dict[str, str]:
    """Descriptions of a dataclass's fields by name, from "Attributes" of its docstring, on one line each."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        for param in parse(one.__doc__ or "", DocstringStyle.GOOGLE).params:
            words = " ".join((param.description or "").split())
            found |= {name.strip(): words for name in param.arg_name.split(",")}
    return found


def shown(value: Any) -> str:
    """A value as an override has it; ``parse_value`` reads it."""
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return json.dumps(to_dict(value), separators=(",", ":"))


def type_name(hint: Any) -> str:
    """A short name of a type."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return " | ".join(str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return " | ".join("none" if part is type(None) else type_name(part) for part in parts)
    if origin is tuple:
        if parts[1:] == (...,):
            return f"list of {type_name(parts[0])}"
        return f"[{', '.join(type_name(part) for part in parts)}]"
    return getattr(hint, "__name__", str(hint))
