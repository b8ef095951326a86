"""A prepared data set as a sequence of its objects or images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from raylift.api.notebook import viewer_frame
from raylift.core.errors import ConfigError, DataError
from raylift.core.types import Mesh
from raylift.data.kinds import kind_of
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import SPLITS, ObjectEntry
from raylift.data.store.stored_view import StoredView
from raylift.export.viewer import ViewerImage, ViewerRow, ViewerShape

_MESH_COLUMNS = ("mesh_vertices", "mesh_faces", "mesh_colors")
_SHOWN_VIEWS = 3


@dataclass(frozen=True)
class DatasetItem:
    """An object with its views, or an image of a collection. Pixels and meshes are read when asked for.

    Attributes:
        dataset: where it is.
        entry: its row of the manifest.
    """

    dataset: ShardedDataset
    entry: ObjectEntry

    @property
    def id(self) -> str:
        return self.entry.id

    @property
    def category(self) -> str:
        return self.entry.category

    @property
    def split(self) -> str:
        """ "train", "val" or "test"."""
        return self.entry.split

    @property
    def caption(self) -> str:
        return self.entry.caption

    @property
    def num_views(self) -> int:
        return self.entry.num_views

    def view(self, number: int = 0) -> StoredView:
        """One view: ``rgba`` (uint8 [S, S, 4]), ``camera`` and, of shapes, ``depth``.

        Raises:
            DataError: it has fewer views, or its shard is damaged.
        """
        return kind_of(self.dataset).picture(self.dataset, self.id, number, with_truth=True)

    @property
    def mesh(self) -> Mesh:
        """The true surface.

        Raises:
            DataError: the data set is an image collection, or its shard is damaged.
        """
        if self.dataset.manifest.kind != "shapes":
            raise DataError(f"{self.id} is an image, without a true shape", "use a data set of shapes")
        return load_object(self.dataset, self.id, _MESH_COLUMNS).mesh

    def __repr__(self) -> str:
        return f"DatasetItem({self.id!r}, {self.category}, {self.split}, {self.num_views} views)"

    def _repr_html_(self) -> str:
        views = [self.view(number) for number in range(min(_SHOWN_VIEWS, self.num_views))]
        images = [ViewerImage(f"View {number}", view.rgba) for number, view in enumerate(views)]
        shapes = [ViewerShape("True surface", self.mesh)] if self.dataset.manifest.kind == "shapes" else []
        row = ViewerRow(self.id, images, shapes, views[0].camera if views else None, self.caption)
        return viewer_frame([row], self.id)


class PreparedDataset(Sequence[DatasetItem]):
    """The items of a data set, ordered by id.

    Args:
        dataset: an open data set.
        entries: which of its objects, in order.
    """

    def __init__(self, dataset: ShardedDataset, entries: Sequence[ObjectEntry]) -> None:
        self._dataset = dataset
        self._entries = tuple(entries)

    @property
    def uri(self) -> str:
        return self._dataset.uri

    @property
    def counts(self) -> dict[str, Any]:
        """Numbers of objects and views of the whole data set, by split and by category."""
        return self._dataset.manifest.counts

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int | str) -> DatasetItem: ...

    @overload
    def __getitem__(self, index: slice) -> PreparedDataset: ...

    def __getitem__(self, index: int | str | slice) -> DatasetItem | PreparedDataset:
        """An item by its place or its id, or a slice of the items.

        Raises:
            IndexError: there are fewer.
            DataError: no item has this id.
        """
        if isinstance(index, slice):
            return PreparedDataset(self._dataset, self._entries[index])
        entry = self._dataset.entry(index) if isinstance(index, str) else self._entries[index]
        return DatasetItem(self._dataset, entry)

    def __iter__(self) -> Iterator[DatasetItem]:
        return (DatasetItem(self._dataset, entry) for entry in self._entries)

    def __repr__(self) -> str:
        return f"PreparedDataset({self.uri!r}, {len(self)} {self._dataset.manifest.kind})"


def open_dataset(uri: str | Path, split: str = "", categories: Sequence[str] = ()) -> PreparedDataset:
    """Open a prepared data set.

    Args:
        uri: folder, local or s3://.
        split: "train", "val" or "test"; by default all of them.
        categories: only these; by default all of them.

    Raises:
        ConfigError: an unknown split.
        DataError: no data set, or a missing shard.
    """
    if split and split not in SPLITS:
        raise ConfigError(f"split {split!r}", f"use one of {', '.join(SPLITS)}")
    dataset = ShardedDataset.open(uri)
    return PreparedDataset(dataset, dataset.entries(split or None, categories))
