"""Opens the sources of ``--source`` specifications and selects items."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import DataError
from raylift.data.sources.base import AnySource, SourceItem
from raylift.data.sources.registry import SourceEntry, source_entries

FETCH = "fetch"
"""``kind:fetch`` downloads the source's data set into the cache, ``kind:fetch:FOLDER`` into that folder."""


@dataclass(frozen=True)
class Selection:
    """The items of a source to use. Words are matched in the name, ignoring case.

    Attributes:
        words: words of which a kept item's name contains at least one; empty keeps all.
        without: words that exclude an item if its name contains any.
        categories: categories to keep, such as seats; empty keeps all.
        max_objects: number of objects to keep, from the first on; 0 keeps all.
    """

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    max_objects: int = 0


def open_source(specification: str, seed: int = 0) -> AnySource:
    """Open the source ``kind:path``, or a bare path, whose layout is then detected.

    Args:
        specification: source, such as ``sh3f:libraries``, ``folder:meshes``, ``procedural:40`` (40 chairs),
            ``procedural:vehicles:40``, ``procedural:furniture:60``, ``cutouts:photos``, ``shapes:data#4`` (four views
            per object), ``scenes:data#4`` (four scenes per object), ``stamps:fetch`` or ``meshes``.
        seed: seed of the procedural set and of single views.

    Raises:
        ConfigError: the count is invalid.
        DataError: the path does not exist.
    """
    entry, place = _split(specification)
    fetched, separator, cache = place.partition(":")
    if fetched == FETCH and entry.fetch is not None:
        place = str(entry.fetch(Path(cache).expanduser() if separator else default_cache() / entry.kind))
    return entry.open(place, seed)


def default_cache() -> Path:
    """The folder for fetched data sets: RAYLIFT_CACHE, or ``raylift`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("RAYLIFT_CACHE") or Path(base) / "raylift")


def _split(specification: str) -> tuple[SourceEntry, str]:
    entries = source_entries()
    kind, separator, place = specification.partition(":")
    if kind in entries and (separator or kind == "procedural"):
        return entries[kind], place
    path = Path(specification).expanduser().resolve()
    if not path.exists():
        raise DataError(
            f"--source {specification}: no such file or folder",
            f"use a path, or kind:path with a kind of {', '.join(entries)}",
        )
    return next(entry for entry in entries.values() if entry.recognises(path)), str(path)


def select_items(items: list[SourceItem], selection: Selection) -> list[SourceItem]:
    """The selected items, in the source's order.

    Raises:
        DataError: two items share an id, or no item is left.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(
                f"two objects have the id {item.id}", "rename one of them, or prepare the sources separately"
            )
        seen.add(item.id)
    kept = [item for item in items if _wanted(item, selection)]
    if selection.max_objects:
        kept = kept[: selection.max_objects]
    if not kept:
        known = sorted({item.category for item in items})[:12]
        raise DataError(
            "no object is left after the selection", f"choose from the categories of this source: {', '.join(known)}"
        )
    return kept


def _wanted(item: SourceItem, selection: Selection) -> bool:
    name = item.name.lower()
    if any(word.lower() in name for word in selection.without):
        return False
    if selection.words and not any(word.lower() in name for word in selection.words):
        return False
    return not selection.categories or item.category.lower() in {word.lower() for word in selection.categories}
