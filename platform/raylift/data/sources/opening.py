"""``--source`` specifications to sources, and which of their items are wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from raylift.core.errors import ConfigError, DataError
from raylift.data.sources.base import Source, SourceItem
from raylift.data.sources.folder import FolderSource
from raylift.data.sources.future3d import Future3dSource
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.sources.sh3f import Sh3fSource
from raylift.data.sources.shapenet import ShapeNetSource

SOURCE_KINDS = ("folder", "sh3f", "shapenet", "future3d", "procedural")


@dataclass(frozen=True)
class Selection:
    """Which items of a source are used. Words are looked for in the name, without regard to case.

    Attributes:
        words: keep items whose name holds any of these; empty keeps all.
        without: drop items whose name holds any of these.
        categories: keep these categories, such as seats; empty keeps all.
        max_objects: keep the first so many; 0 keeps all.
    """

    words: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    max_objects: int = 0


def open_source(specification: str, seed: int = 0) -> Source:
    """The source of ``kind:path``, or of a bare path, whose layout is then recognised.

    Args:
        specification: such as ``sh3f:libraries``, ``folder:meshes``, ``procedural:40`` (so many objects) or ``meshes``.
        seed: of the procedural set.

    Raises:
        ConfigError: the kind is unknown or the count is not one.
        DataError: nothing is there.
    """
    kind, separator, rest = specification.partition(":")
    if specification == "procedural" or (separator and kind == "procedural"):
        if rest and not rest.isdigit():
            raise ConfigError(f"--source {specification}: {rest!r} is not a count", "write procedural:40")
        return ProceduralSource(int(rest or 40), seed)
    if separator and kind in SOURCE_KINDS:
        return _open(kind, Path(rest).expanduser().resolve())
    path = Path(specification).expanduser().resolve()
    if not path.exists():
        raise DataError(
            f"--source {specification}: there is no such file or folder",
            f"give a path, or kind:path with a kind of {', '.join(SOURCE_KINDS)}",
        )
    return _open(_recognise(path), path)


def _open(kind: str, path: Path) -> Source:
    if kind == "sh3f":
        return Sh3fSource(path)
    if kind == "shapenet":
        return ShapeNetSource(path)
    if kind == "future3d":
        return Future3dSource(path)
    return FolderSource(path)


def _recognise(path: Path) -> str:
    if path.suffix == ".sh3f" or (path.is_dir() and any(path.rglob("*.sh3f"))):
        return "sh3f"
    if (path / "model_info.json").is_file():
        return "future3d"
    if path.is_dir() and any(re.fullmatch(r"0\d{7}", child.name) for child in path.iterdir()):
        return "shapenet"
    return "folder"


def select_items(items: list[SourceItem], selection: Selection) -> list[SourceItem]:
    """The wanted items, in the source's order.

    Raises:
        DataError: two items share an id, or none is left.
    """
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise DataError(f"two objects are called {item.id}", "rename one of them, or prepare the sources apart")
        seen.add(item.id)
    kept = [item for item in items if _wanted(item, selection)]
    if selection.max_objects:
        kept = kept[: selection.max_objects]
    if not kept:
        known = sorted({item.category for item in items})[:12]
        raise DataError("no object is left after the selection", f"categories of this source: {', '.join(known)}")
    return kept


def _wanted(item: SourceItem, selection: Selection) -> bool:
    name = item.name.lower()
    if any(word.lower() in name for word in selection.without):
        return False
    if selection.words and not any(word.lower() in name for word in selection.words):
        return False
    return not selection.categories or item.category.lower() in {word.lower() for word in selection.categories}
