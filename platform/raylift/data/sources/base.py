"""What a source delivers: a cheap list of items, and each item's scene, or image, on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from raylift.core.types import Camera
from raylift.data.store.annotations import Annotations
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
        group: what the source says must stay in one split; empty where it says nothing.
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
    group: str = ""


@dataclass(frozen=True)
class ImageItem(SourceItem):
    """One image of a collection.

    Attributes:
        caption: a whole sentence; empty makes one of the name.
        details: the rest that the source knows before it opens the image, in words of its own.
    """

    caption: str = ""
    details: str = ""


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


@dataclass(frozen=True)
class LoadedImage:
    """An image as its source tells it. Coordinates are pixels, (0, 0) the outer corner of the top-left one.

    Attributes:
        rgba: uint8 [H, W, 4], colour not premultiplied, alpha the silhouette's coverage.
        caption: a sentence.
        has_background: whether colours outside of the silhouette are a photograph's, and worth keeping.
        box: left, top, right, bottom as annotated; None takes the silhouette's.
        keypoints: [K, 3]: x, y, and more than 0 where visible; None where there are none.
        parts: part maps uint8 [P, H, W]; None where there are none.
        camera: B = 1, where it is known; for scoring only.
        truth: ``id#view`` in the data set of shapes ``truth_data`` that the image was taken from.
        notes: what is wrong with it without making it useless.
    """

    rgba: np.ndarray
    caption: str
    has_background: bool = False
    box: tuple[float, float, float, float] | None = None
    keypoints: np.ndarray | None = None
    parts: np.ndarray | None = None
    camera: Camera | None = None
    truth: str = ""
    truth_data: str = ""
    notes: tuple[str, ...] = ()


@runtime_checkable
class ImageSource(Protocol):
    """A layout of an image collection."""

    @property
    def kind(self) -> str:
        """The name in ``--source kind:path``."""
        ...

    def annotations(self) -> Annotations:
        """What its keypoints mean."""
        ...

    def items(self) -> list[SourceItem]:
        """Every image, in a stable order.

        Raises:
            DataError: the place cannot be read, or nothing of this layout is there.
        """
        ...

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        """Read one image.

        Args:
            item: one of ``items()``.
            max_bytes: a larger file is refused before it is read.
            max_pixels: a larger image is refused before it is decoded.

        Raises:
            DataError: the image or its mask is missing, broken, empty or too large.
        """
        ...


AnySource = Source | ImageSource
