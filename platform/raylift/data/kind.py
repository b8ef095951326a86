"""What a kind of data set must say of itself: shapes and image collections are siblings that keep this contract."""

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
    """What is kept of one item.

    Attributes:
        tables: the rows of each table.
        num_views: its images.
        notes: what is imperfect about it.
        body: of a mesh: what its body measures, by which copies are recognised; see ``data.shapes.bodies``.
    """

    tables: tuple[list[dict[str, Any]], ...]
    caption: str
    num_views: int
    notes: tuple[str, ...]
    body: tuple[float, ...] = ()


class Statistics(Protocol):
    """Numbers of one object or image, as fields of a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def entry(self) -> ObjectEntry: ...

    @property
    def problems(self) -> tuple[str, ...]:
        """What a human should look at."""
        ...


class DatasetKind(ABC, Generic[C]):
    """All that preparing and reading one kind of data set do differently."""

    name: ClassVar[DataKind]
    schema_version: ClassVar[int]

    @abstractmethod
    def identity(self, config: C, annotations: Annotations) -> list[Any]:
        """What its settings contribute to the fingerprint, as JSON."""

    @abstractmethod
    def tables(self, config: C) -> tuple[tuple[str, pa.Schema], ...]:
        """File name pattern and schema of the tables of a shard."""

    @abstractmethod
    def sigmas(self, config: C) -> tuple[float, ...]:
        """Noise levels of supervised points."""

    @abstractmethod
    def make(self, item: SourceItem, source: AnySource, config: C) -> Rows:
        """Read and prepare one item.

        Raises:
            DataError: it cannot be used; it says why.
        """

    @abstractmethod
    def picture(self, dataset: ShardedDataset, object_id: str, view: int, with_truth: bool) -> StoredView:
        """One stored image.

        Raises:
            DataError: unknown object or view, or a damaged shard.
        """

    @abstractmethod
    def problems(self, dataset: ShardedDataset) -> list[str]:
        """What makes the training split unfit to learn from, in words.

        Raises:
            DataError: a damaged shard.
        """

    @abstractmethod
    def needed_columns(self, dataset: ShardedDataset, request: SampleRequest) -> list[str]:
        """The columns of the objects table that the request reads.

        Raises:
            DataError: this kind does not have what is asked for.
        """

    @abstractmethod
    def statistics(self, dataset: ShardedDataset, entry: ObjectEntry) -> Statistics:
        """Numbers of one object or image, and what seems wrong with it.

        Raises:
            DataError: its shard is damaged.
        """
