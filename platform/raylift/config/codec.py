"""JSON into frozen dataclasses, strictly: unknown fields, wrong types and missing values are errors with a place."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raylift.core.errors import ConfigError

T = TypeVar("T")


class Strict:
    """Base of dataclasses whose unknown fields are errors. Others ignore them."""

    __pydantic_config__: typing.ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)


def read_json(cls: type[T], text: str | bytes) -> T:
    """Build ``cls`` from JSON.

    Raises:
        ConfigError: not JSON; an unknown field (with the nearest valid one), a missing or wrong value, each with its
            path; or what the dataclass itself refuses.
    """
    try:
        return TypeAdapter(cls).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise _refused(cls, first["type"], first["loc"], first["msg"], first.get("input")) from None


def _refused(cls: type, kind: str, place: Sequence[int | str], message: str, found: Any) -> ConfigError:
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if kind == "unexpected_keyword_argument":
        above = where.removesuffix(str(place[-1]))
        fields = [f"{above}{name}" for name in _fields_at(cls, place)]
        return ConfigError(f"there is no {where!r}", _nearest(where, fields))
    if not where:
        return ConfigError(f"{message[0].lower()}{message[1:]}", "see a file that works for the form")
    if kind == "literal_error":
        allowed = _literals_at(cls, place)
        return ConfigError(f"{where} is {found!r}", _nearest(str(found), allowed))
    if kind in ("missing", "missing_argument"):
        return ConfigError(f"{where} is missing", "see a file that works for the form")
    return ConfigError(f"{where} is {found!r}", f"{message[0].lower()}{message[1:]}")


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(known)}"


def _type_at(cls: Any, place: Sequence[int | str]) -> Any:
    for part in place:
        if isinstance(part, str) and dataclasses.is_dataclass(cls):
            cls = typing.get_type_hints(cls)[part]
        elif typing.get_args(cls):
            cls = typing.get_args(cls)[0 if isinstance(part, int) else -1]
    return cls


def _fields_at(cls: Any, place: Sequence[int | str]) -> list[str]:
    """The fields that exist where the last one of a path does not."""
    return [field.name for field in dataclasses.fields(_type_at(cls, place[:-1]))]


def _literals_at(cls: Any, place: Sequence[int | str]) -> list[str]:
    return [str(value) for value in typing.get_args(_type_at(cls, place))]
