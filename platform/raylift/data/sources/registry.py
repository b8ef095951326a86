"""All sources by kind: a source is one file in this folder whose class registers itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

from raylift.data import sources
from raylift.data.sources.base import AnySource
from raylift.data.store.manifest import DataKind

S = TypeVar("S", bound=type)


@dataclass(frozen=True)
class SourceEntry:
    """Registration of a kind of source.

    Attributes:
        kind: name in ``--source kind:place``.
        delivers: kind of data set that it makes.
        open: (place, seed) -> the source.
        recognises: whether a bare path has this layout.
        last: whether to try it only if no other source recognises a path.
        fetch: downloads the data set into a folder and returns the place to open; None if there is nothing to fetch.
        help: one line for ``--help``.
    """

    kind: str
    delivers: DataKind
    open: Callable[[str, int], AnySource]
    recognises: Callable[[Path], bool]
    last: bool
    fetch: Callable[[Path], Path] | None
    help: str


_ENTRIES: dict[str, SourceEntry] = {}


def source(kind: str, *, delivers: DataKind, help: str, last: bool = False) -> Callable[[S], S]:
    """Register a source's class.

    Optional static methods of the class: ``open(place, seed)`` (default: the class of the resolved path),
    ``recognises(path)`` (default: never) and ``fetch(cache)`` (default: nothing to fetch).
    """

    def register(cls: S) -> S:
        def open_path(place: str, seed: int) -> AnySource:
            opened: AnySource = cls(Path(place).expanduser().resolve())
            return opened

        assert kind not in _ENTRIES, f"two sources have the kind {kind}"
        _ENTRIES[kind] = SourceEntry(
            kind,
            delivers,
            getattr(cls, "open", open_path),
            getattr(cls, "recognises", lambda path: False),
            last,
            getattr(cls, "fetch", None),
            help,
        )
        return cls

    return register


@cache
def source_entries() -> dict[str, SourceEntry]:
    """All sources by kind, those that recognise anything last."""
    for module in pkgutil.iter_modules(sources.__path__):
        importlib.import_module(f"{sources.__name__}.{module.name}")
    return dict(sorted(_ENTRIES.items(), key=lambda item: (item[1].last, item[0])))
