"""Source interface: a cheap list of items, and each item's scene or image on demand."""

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
        id: id, unique within a data set and stable across runs: splits and random draws are keyed by it.
        name: name in the source, such as "Oak chair".
        category: category in the source, such as "chair"; "unknown" if it has none.
        reference: key for finding the mesh again: a path or a catalogue number.
        licence: licence; empty if the source does not state it.
        creator: author to credit.
        style: style, such as "modern"; optional in captions.
        material: material of the largest part if the source names it; otherwise guessed from the materials' names.
        split: "train", "val" or "test" if the source prescribes it; empty otherwise.
        tags: further keywords.
        group: group that the source keeps in one split; empty if it prescribes none.
        stamp: text that changes with the mesh file, so that an outdated shard is recognised.
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
        caption: caption, a whole sentence; empty derives one from the name.
        details: other data known before the image is opened, in the source's own format.
    """

    caption: str = ""
    details: str = ""


@dataclass(frozen=True)
class LoadedScene:
    """A scene as delivered by its source: Y up, facing +Z, in any unit and position.

    Attributes:
        scene: triangles with their materials.
        notes: defects that leave it usable, such as a missing texture.
    """

    scene: Scene
    notes: tuple[str, ...] = field(default=())


class Source(Protocol):
    """A data set layout. Sources are sent to Ray workers, so they hold paths and settings, never open files."""

    @property
    def kind(self) -> str:
        """The name in ``--source kind:path``."""
        ...

    def items(self) -> list[SourceItem]:
        """Every object, in a stable order.

        Raises:
            DataError: the path cannot be read, or holds nothing of this layout.
        """
        ...

    def load(self, item: SourceItem, max_bytes: int) -> LoadedScene:
        """Read one object.

        Args:
            item: one of ``items()``.
            max_bytes: size limit; a larger mesh file is rejected before it is read.

        Raises:
            DataError: the mesh is missing, broken, empty, too large, or refers to files outside of its source.
        """
        ...


@dataclass(frozen=True)
class LoadedImage:
    """An image as delivered by its source. Coordinates are pixels; (0, 0) is the outer corner of the top-left one.

    Attributes:
        rgba: uint8 [H, W, 4], colour not premultiplied, alpha the silhouette's coverage.
        caption: caption, a sentence.
        has_background: whether the colours outside of the silhouette are a photograph's and worth storing.
        box: annotated box: left, top, right, bottom; None uses that of the amodal mask, or else of the silhouette.
        keypoints: [K, 3]: x, y, and more than 0 where visible; None if missing.
        parts: part maps uint8 [P, H, W]; None if missing.
        camera: B = 1, if known; for scoring, and for models that request it as a training target.
        truth: ``id#view`` in the data set of shapes ``truth_data`` that the image was taken from.
        notes: defects that leave it usable.
        amodal: uint8 [H, W], coverage of the whole object, hidden parts included; None if unknown. ``rgba`` then holds
            the coverage of its visible part.
        window: the square to store, in pixels: left, top, right, bottom; None stores the object's box with a margin.
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
    amodal: np.ndarray | None = None
    window: tuple[float, float, float, float] | None = None


@runtime_checkable
class ImageSource(Protocol):
    """A layout of an image collection."""

    @property
    def kind(self) -> str:
        """The name in ``--source kind:path``."""
        ...

    def annotations(self) -> Annotations:
        """The meaning of its keypoints."""
        ...

    def items(self) -> list[SourceItem]:
        """Every image, in a stable order.

        Raises:
            DataError: the path cannot be read, or holds nothing of this layout.
        """
        ...

    def load(self, item: SourceItem, max_bytes: int, max_pixels: int) -> LoadedImage:
        """Read one image.

        Args:
            item: one of ``items()``.
            max_bytes: size limit; a larger file is rejected before it is read.
            max_pixels: pixel limit; a larger image is rejected before it is decoded.

        Raises:
            DataError: the image or its mask is missing, broken, empty or too large.
        """
        ...


AnySource = Source | ImageSource
