"""The grammar of overrides, the same for every command: ``[SCOPE:]PATH=VALUE``.

``PATH`` is dotted, as ``raylift recipes show`` lists it. ``VALUE`` is JSON, a bare word, or bare words with commas.
``SCOPE`` is a stage of a chain (``stage2:seed=1``) or, for a sweep's own values, ``sweep``; without one, an override
applies to every recipe of the command. Overrides may be anywhere on the command line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from raylift.core.errors import ConfigError

_FORM = re.compile(
    r"\s*(?:(?P<scope>[A-Za-z_][\w.-]*):)?(?P<path>[A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*=(?P<text>.*)", re.DOTALL
)


class Override(NamedTuple):
    """One override.

    Attributes:
        scope: stage or ``sweep``; "" for none.
        path: dotted path of the value.
        value: the value, as JSON gives it.
        text: the override without its scope, ``path=value``.
    """

    scope: str
    path: str
    value: Any
    text: str


def parse_override(word: str) -> Override:
    """Parse ``[SCOPE:]PATH=VALUE``.

    Raises:
        ConfigError: not of that form.
    """
    match = _FORM.fullmatch(word)
    if match is None:
        raise ConfigError(
            f"override {word!r} is not of the form path=value",
            "write model.weights.sdf=5, or stage2:seed=1 for a stage",
        )
    path, text = match["path"], match["text"].strip()
    return Override(match["scope"] or "", path, parse_value(text), f"{path}={text}")


def parse_value(text: str) -> Any:
    """The value that a text means: JSON, a bare word, or a list of bare words."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1] + ","  # a list of bare words, as a shell leaves of ["a", "b"]
            return [part.strip().strip("'\"") for part in text.split(",") if part.strip()]
        return [part.strip() for part in text.split(",")] if "," in text else text


def take_overrides(words: Iterable[str]) -> tuple[list[str], tuple[str, ...]]:
    """Split a command line into its other words and its overrides, each in order."""
    others: list[str] = []
    found: list[str] = []
    for word in words:
        (found if _FORM.fullmatch(word) else others).append(word)
    return others, tuple(found)
