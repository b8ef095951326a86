"""Interface of a kind of data set, implemented by shapes and by image collections."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import pyarrow as pa

from raylift.core.types import SampleRequest
from raylift.data.prepare.config import PrepareConfig
from raylift.data.sources.base import AnySource, SourceItem
from raylift.data.store.annotations import Annotations
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import DataKind, ObjectEntry
from raylift.data.store.stored_view import StoredView

C = TypeVar("C", bound=PrepareConfig)


@dataclass(frozen=True)
class Rows:
    """The stored data of one item.

    Attributes:
        tables: rows of each table.
        num_views: number of images.
        notes: imperfections of the item.
        body: moments of a mesh's body, by which copies are recognised; see ``data.shapes.bodies``.
    """

    tables: tuple[list[dict[str, Any]], ...]
    caption: str
    num_views: int
    notes: tuple[str, ...]
    body: tuple[float, ...] = ()


class Statistics(Protocol):
    """Statistics of one object or image, as fields of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def entry(self) -> ObjectEntry: ...

    @property
    def problems(self) -> tuple[str, ...]:
        """Problems that a human should check."""
        ...


class DatasetKind(ABC, Generic[C]):
    """Preparing and reading, for one kind of data set."""

    name: ClassVar[DataKind]
    schema_version: ClassVar[int]

    @abstractmethod
    def identity(self, config: C, annotations: Annotations) -> list[Any]:
        """The part of the fingerprint that depends on the settings, as JSON."""

    @abstractmethod
    def tables(self, config: C) -> tuple[tuple[str, pa.Schema], ...]:
        """File name pattern and schema of each table of a shard."""

    @abstractmethod
    def sigmas(self, config: C) -> tuple[float, ...]:
        """Noise levels of supervised points."""

    @abstractmethod
    def make(self, item: SourceItem, source: AnySource, config: C) -> Rows:
        """Read and prepare one item.

        Raises:
            DataError: the item cannot be used; the message says why.
        """

    @abstractmethod
    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> StoredView:
        """One stored image.

        Raises:
            DataError: unknown object or view, or a damaged shard.
        """

    @abstractmethod
    def problems(self, dataset: ShardedDataset) -> list[str]:
        """Messages on why the training split is unfit for training.

        Raises:
            DataError: a damaged shard.
        """

    @abstractmethod
    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        """The columns of the objects table that the request reads.

        Raises:
            DataError: this kind lacks the requested data.
        """

    @abstractmethod
    def statistics(self, dataset: ShardedDataset, entry: ObjectEntry) -> Statistics:
        """Statistics of one object or image, and likely problems with it.

        Raises:
            DataError: its shard is damaged.
        """
