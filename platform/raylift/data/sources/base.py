"""What a source of shapes delivers: a cheap list of items, and each item's scene on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from raylift.rendering.scene import Scene


@dataclass(frozen=True)
class SourceItem:
    """One object of a source, known before its mesh is read.

    Attributes:
        id: unique within a data set and stable over runs: splits and random draws are keyed by it.
        name: what the source calls it, such as "Oak chair".
        category: the source's, such as "chair"; "unknown" where it has none.
        reference: what the source needs to find the mesh again: a path, a catalogue number.
        licence: under which it may be used; empty where the source does not say.
        creator: whom to credit.
        style: such as "modern"; optional in captions.
        material: of the largest part where the source names it; otherwise it is guessed from the materials' names.
        split: "train", "val" or "test" where the source prescribes it; empty otherwise.
        tags: further words.
        stamp: changes when the mesh file does, so that a prepared shard is known to be out of date.
    """

    id: str
    name: str
    category: str
    reference: str
    licence: str = ""
    creator: str = ""
    style: str = ""
    material: str = ""
    split: str = ""
    tags: tuple[str, ...] = ()
    stamp: str = ""


@dataclass(frozen=True)
class LoadedScene:
    """A scene as its source tells it: Y up, facing +Z, in any unit and anywhere.

    Attributes:
        scene: the triangles with their materials.
        notes: what is wrong with it without making it useless, such as a texture that is missing.
    """

    scene: Scene
    notes: tuple[str, ...] = field(default=())


class Source(Protocol):
    """A data set layout. Sources travel to Ray workers, so they hold paths and settings, never open files."""

    @property
    def kind(self) -> str:
        """The name in ``--source kind:path``."""
        ...

    def items(self) -> list[SourceItem]:
        """Every object, in a stable order.

        Raises:
            DataError: the place cannot be read, or nothing of this layout is there.
        """
        ...

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        """Read one object.

        Args:
            item: one of ``items()``.
            max_bytes: a larger mesh file is refused before it is read.

        Raises:
            DataError: the mesh is missing, broken, empty, too large, or points outside of its source.
        """
        ...
