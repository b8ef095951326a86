"""The whole run as one stream of samples, each a pure function of (seed, its row): laws 3 and 4.

Row k belongs to epoch k // n, where n is the number of training objects, and shows the object at place k % n of that
epoch's permutation. Step s takes rows [s B, (s + 1) B): epochs follow one another without gap, repeat or remainder, and
who asks for a row, how many ranks there are and where a run was resumed cannot matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator
from raylift.core.types import Batch, SampleRequest
from raylift.data.batches import Sample, collate
from raylift.data.config import DataConfig
from raylift.data.dataset import ShardedDataset
from raylift.data.manifest import ObjectEntry
from raylift.data.samples import PreparedView, assemble, needed_columns, prepare_view, view_part


@dataclass(frozen=True)
class Row:
    """What one row of the stream is."""

    index: int
    epoch: int
    object_id: str
    view: int


class SampleStream:
    """The training samples of a run. Pickles as its arguments, so it may travel to workers.

    Args:
        dataset: prepared shards.
        request: what the family asks for.
        config: batch size and which objects.
        seed: the run's.
        split: "train", or another for a look at it.

    Raises:
        DataError: no object of this split and these categories.
    """

    def __init__(
        self,
        dataset: ShardedDataset,
        request: SampleRequest,
        config: DataConfig,
        seed: int,
        split: str = "train",
    ) -> None:
        self.dataset = dataset
        self.request = request
        self.config = config
        self.seed = seed
        self.split = split
        self.entries = chosen_entries(dataset, split, config)
        self._columns = needed_columns(request, len(dataset.manifest.sigmas))
        self._order = lru_cache(maxsize=4)(self._make_order)

    def __reduce__(self) -> tuple[object, ...]:
        return SampleStream, (self.dataset, self.request, self.config, self.seed, self.split)

    @property
    def num_objects(self) -> int:
        return len(self.entries)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that show every object once, rounded up."""
        return math.ceil(self.num_objects / self.config.batch_size)

    def num_steps(self, num_epochs: int) -> int:
        """Steps that show every object ``num_epochs`` times: exactly, but for what fills the last batch."""
        return math.ceil(num_epochs * self.num_objects / self.config.batch_size)

    def epoch_of(self, step: int) -> int:
        """The epoch of a step's first row."""
        return step * self.config.batch_size // self.num_objects

    def _make_order(self, epoch: int) -> np.ndarray:
        return numpy_generator(self.seed, epoch, "order").permutation(self.num_objects)

    def row(self, index: int) -> Row:
        """What row ``index`` is."""
        epoch, place = divmod(index, self.num_objects)
        entry = self.entries[int(self._order(epoch)[place])]
        view = int(numpy_generator(self.seed, epoch, entry.id, "view").integers(entry.num_views))
        return Row(index, epoch, entry.id, view)

    def rows_of(self, step: int, rank: int = 0, world: int = 1) -> range:
        """The rows of a rank's part of a step: contiguous, and as even as can be.

        Raises:
            ConfigError: the global batch cannot give every rank a row.
        """
        batch = self.config.batch_size
        if not 0 <= rank < world or batch < world:
            raise ConfigError(
                f"a batch of {batch} for rank {rank} of {world}",
                "use a data.batch_size of at least the number of workers",
            )
        return range(step * batch + batch * rank // world, step * batch + batch * (rank + 1) // world)

    def sample(self, index: int) -> Sample:
        """The sample of row ``index``."""
        row = self.row(index)
        record = self.dataset.load_object(row.object_id, self._columns)
        view = prepared_view(self.dataset, row.object_id, row.view, self.request)
        return assemble(record, view, self.request, numpy_generator(self.seed, row.epoch, row.object_id, "sample"))

    def batches(self, rank: int, world: int, start_step: int, stop_step: int) -> Iterator[Batch]:
        """A rank's batches of steps [start_step, stop_step), made in this process."""
        for step in range(start_step, stop_step):
            yield collate([self.sample(index) for index in self.rows_of(step, rank, world)])


def prepared_view(dataset: ShardedDataset, object_id: str, view: int, request: SampleRequest) -> PreparedView:
    """A view as the request's samples start from it, kept in the data set's cache instead of the decoded one.

    Raises:
        DataError: unknown object or view, a damaged shard, a silhouette without area.
    """
    return dataset.remembered(
        (object_id, f"view {view} at {view_part(request)}"),
        lambda: prepare_view(dataset.load_view(object_id, view, keep=False), request),
    )


def chosen_entries(dataset: ShardedDataset, split: str, config: DataConfig) -> list[ObjectEntry]:
    """The objects of a split that the configuration keeps; ``max_objects`` bounds the training split only.

    Raises:
        DataError: none.
    """
    entries = dataset.entries(split, config.categories)
    if split == "train" and config.max_objects:
        entries = entries[: config.max_objects]
    if not entries:
        counts = dataset.manifest.counts
        raise DataError(
            f"{dataset.uri} has no object in split {split!r}"
            + (f" of categories {', '.join(config.categories)}" if config.categories else ""),
            f"it has {counts['by_split']}, categories {', '.join(counts['by_category'])}",
        )
    return entries


def evaluation_views(entry: ObjectEntry, eval_views: int) -> list[int]:
    """Views spread evenly over those stored, an eighth of their spacing from the first.

    The first view is a data set's front (azimuth 0), so a single one is the three-quarter view from 45 degrees or a
    little less, and not the object's back.
    """
    count = min(eval_views, entry.num_views)
    return [(8 * index + 1) * entry.num_views // (8 * count) for index in range(count)]


def evaluation_batches(
    dataset: ShardedDataset,
    request: SampleRequest,
    split: str,
    config: DataConfig,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    batch_size: int | None = None,
) -> Iterator[Batch]:
    """A rank's share of the held-out samples: the same objects, views and draws every time.

    Rows are (object, view) in order; rank r takes every ``world``-th from the r-th, so a rank may get none.

    Raises:
        DataError: no object of this split.
    """
    entries = chosen_entries(dataset, split, config)
    rows = [(entry, view) for entry in entries for view in evaluation_views(entry, config.eval_views)][rank::world]
    columns = needed_columns(request, len(dataset.manifest.sigmas))
    size = batch_size or config.batch_size
    for start in range(0, len(rows), size):
        yield collate(
            [
                assemble(
                    dataset.load_object(entry.id, columns),
                    prepared_view(dataset, entry.id, view, request),
                    request,
                    numpy_generator(seed, entry.id, view, "evaluation"),
                )
                for entry, view in rows[start : start + size]
            ]
        )
