"""The whole run as one stream of samples, each a pure function of (seed, row): laws 3 and 4.

Row k belongs to epoch k // n, where n is the number of training objects, and shows the object at index k % n of that
epoch's order (``data.feed.order``). Step s takes rows [s B, (s + 1) B): epochs follow one another without gap, repeat
or remainder, and samples do not depend on the reader, the number of ranks, or where a run was resumed.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from raylift.config.data import DataConfig
from raylift.core.captions import encode_caption
from raylift.core.dataset_info import DatasetInfo
from raylift.core.errors import ConfigError, DataError
from raylift.core.generators import numpy_generator
from raylift.core.types import Batch, SampleRequest
from raylift.data.feed.batches import Sample, collate
from raylift.data.feed.order import EpochOrder
from raylift.data.feed.samples import PreparedView, assemble, prepare_view, view_part
from raylift.data.feed.told_grids import check_told_grids
from raylift.data.kinds import kind_of
from raylift.data.shapes.record import load_object
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.manifest import ObjectEntry


@dataclass(frozen=True)
class SampleIndex:
    """What one row of the stream shows: epoch, object, view, and the number of its stored image."""

    index: int
    epoch: int
    object_id: str
    view: int
    image: int


class SampleStream:
    """The training samples of a run. Pickles as its arguments, so it can be sent to workers.

    Args:
        dataset: prepared shards.
        request: fields that the model requests.
        config: batch size and selection of objects.
        seed: seed of the run.
        split: "train", or another split for inspection.

    Raises:
        DataError: no object of this split and these categories, or the data set lacks a requested field.
        ConfigError: the request includes data for scoring only.
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
        if request.truth:
            raise ConfigError("training samples request the true camera", "request it in evaluation only")
        self._columns = kind_of(dataset).needed_columns(dataset, request)
        if request.voxels is not None:
            check_told_grids(dataset, request.voxels.source, [entry.id for entry in self.entries])
        self._first_images = first_images(self.entries)
        self._categories = category_names(dataset, config) if request.category else ()
        self._shuffle = EpochOrder([entry.shard for entry in self.entries], config.shuffle_window, seed)
        self._order = lru_cache(maxsize=4)(self._shuffle.order)

    def __reduce__(self) -> tuple[object, ...]:
        return SampleStream, (self.dataset, self.request, self.config, self.seed, self.split)

    def reading(self, dataset: ShardedDataset) -> SampleStream:
        """The same samples, read through another handle of the same data set."""
        stream = copy.copy(self)
        stream.dataset = dataset
        return stream

    @property
    def num_objects(self) -> int:
        return len(self.entries)

    @property
    def num_images(self) -> int:
        """Number of stored images that samples may show; ``image_index`` is less than it."""
        return int(self._first_images[-1])

    def num_steps(self, num_epochs: int) -> int:
        """Steps that show every object ``num_epochs`` times, exactly except for filling the last batch."""
        return math.ceil(num_epochs * self.num_objects / self.config.batch_size)

    def epoch_of(self, step: int) -> int:
        """The epoch of a step's first row."""
        return step * self.config.batch_size // self.num_objects

    def row(self, index: int) -> SampleIndex:
        """The row at ``index``."""
        epoch, place = divmod(index, self.num_objects)
        position = int(self._order(epoch)[place])
        entry = self.entries[position]
        view = 0
        if entry.num_views > 1:
            view = int(numpy_generator(self.seed, epoch, entry.id, "view").integers(entry.num_views))
        return SampleIndex(index, epoch, entry.id, view, int(self._first_images[position]) + view)

    def shard(self, index: int) -> tuple[int, int]:
        """The epoch of row ``index``, and the shard of its object."""
        epoch, place = divmod(index, self.num_objects)
        return epoch, self.entries[int(self._order(epoch)[place])].shard

    @property
    def rows_per_window(self) -> int:
        """Mean number of rows in a window of the shuffle."""
        return math.ceil(self.num_objects / self._shuffle.num_windows)

    @property
    def window_bytes(self) -> int:
        """Most bytes of shards that this window of the shuffle and the next one need."""
        shards = self.dataset.manifest.shards
        sizes = [sum(file.num_bytes for file in shards[shard]) for shard in {entry.shard for entry in self.entries}]
        return sum(sorted(sizes, reverse=True)[: 2 * self._shuffle.shards_per_window])

    def rows_of(self, step: int, rank: int = 0, world: int = 1) -> range:
        """The rows of a rank's part of a step: contiguous, and as even as possible.

        Raises:
            ConfigError: the global batch is smaller than the number of ranks.
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
        rng = numpy_generator(self.seed, row.epoch, row.object_id, "sample")
        crop = self.request.crop
        crop_rng = numpy_generator(self.seed, row.epoch, row.object_id, "crop") if crop and crop.is_drawn else None
        return _sample(
            self.dataset,
            self._columns,
            row.object_id,
            row.view,
            row.image,
            self.request,
            self._categories,
            rng,
            crop_rng,
        )

    def batches(self, rank: int, world: int, start_step: int, stop_step: int) -> Iterator[Batch]:
        """A rank's batches of steps [start_step, stop_step), made in this process."""
        for step in range(start_step, stop_step):
            yield collate([self.sample(index) for index in self.rows_of(step, rank, world)])


def dataset_info(dataset: ShardedDataset, config: DataConfig) -> DatasetInfo:
    """The data set information that a model is built with.

    Raises:
        DataError: no training object of these categories.
    """
    annotations = dataset.manifest.annotations
    entries = chosen_entries(dataset, "train", config)
    return DatasetInfo(
        int(first_images(entries)[-1]),
        annotations.keypoint_mirror,
        annotations.part_mirror,
        category_names(dataset, config),
        len(entries),
    )


def category_names(dataset: ShardedDataset, config: DataConfig) -> tuple[str, ...]:
    """The categories of the training objects, sorted: ``DatasetInfo.categories``.

    Raises:
        DataError: no training object of these categories.
    """
    return tuple(sorted({entry.category for entry in chosen_entries(dataset, "train", config)}))


def first_images(entries: Sequence[ObjectEntry]) -> np.ndarray:
    """The ``image_index`` of each object's first view, followed by the total number of images."""
    return np.cumsum([0, *(entry.num_views for entry in entries)])


def _sample(
    dataset: ShardedDataset,
    columns: list[str],
    object_id: str,
    view: int,
    image: int,
    request: SampleRequest,
    categories: Sequence[str],
    rng: np.random.Generator,
    crop_rng: np.random.Generator | None = None,
) -> Sample:
    record = load_object(dataset, object_id, columns)
    sample = assemble(record, prepared_view(dataset, object_id, view, request), request, rng, crop_rng)
    if request.image_index:
        sample["image_index"] = np.int64(image)
    if request.caption:
        sample["caption"] = encode_caption(dataset.entry(object_id).caption)
    if request.category:
        name = dataset.entry(object_id).category
        sample["category"] = np.int64(categories.index(name) if name in categories else -1)
    return sample


def prepared_view(dataset: ShardedDataset, object_id: str, view: int, request: SampleRequest) -> PreparedView:
    """A view prepared for the request's samples, cached in the data set instead of the decoded one.

    Raises:
        DataError: unknown object or view, a damaged shard, a silhouette without area.
    """
    # The object's, not the view's: requests with and without share views.
    request = replace(request, caption=False, category=False)
    with_truth = request.truth or request.supervised_camera
    return dataset.cached(
        (object_id, f"view {view} at {view_part(request)}"),
        lambda: prepare_view(kind_of(dataset).picture(dataset, object_id, view, with_truth), request),
    )


def chosen_entries(dataset: ShardedDataset, split: str, config: DataConfig) -> list[ObjectEntry]:
    """The objects of a split that the configuration keeps; ``max_objects`` bounds the training split only.

    Raises:
        DataError: no such object, or a category to train on that the data set does not have.
    """
    entries = dataset.entries(split, config.categories)
    if split == "train":
        _require_categories(dataset, config.categories)
    if split == "train" and config.max_objects:
        entries = entries[: config.max_objects]
    if not entries:
        counts = dataset.manifest.counts
        raise DataError(
            f"{dataset.uri} has no object in split {split!r}"
            + (f" of categories {', '.join(config.categories)}" if config.categories else ""),
            f"use what it has: {counts['by_split']}, categories {', '.join(counts['by_category'])}",
        )
    return entries


def _require_categories(dataset: ShardedDataset, wanted: Sequence[str]) -> None:
    known = list(dataset.manifest.counts["by_category"])
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
            raise DataError(f"{dataset.uri} has no category {name!r} (data.categories)", hint)


def evaluation_views(entry: ObjectEntry, eval_views: int) -> list[int]:
    """Views evenly spread over those stored, starting an eighth of their spacing from the first.

    The first view is a data set's front (azimuth 0), so a single one is the three-quarter view from 45 degrees or
    slightly less, and not the object's back.
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
    entries: Sequence[ObjectEntry] | None = None,
    categories: Sequence[str] | None = None,
) -> Iterator[Batch]:
    """A rank's share of the held-out samples: the same objects, views and draws every time, without crop draws.

    Rows are (object, view) in order; rank r takes every ``world``-th row from the r-th, so a rank may get none.

    Args:
        entries: subset of the split's objects, in its order; None uses all of them.
        categories: names that ``category`` is an index into: a model's own, if it was trained on another data set; None
            uses those of this data set's training split.

    Raises:
        DataError: no object of this split.
    """
    request = request.without_draws()
    if categories is None:
        categories = category_names(dataset, config) if request.category else ()
    all_entries = chosen_entries(dataset, split, config)
    wanted = {entry.id for entry in (all_entries if entries is None else entries)}
    columns = kind_of(dataset).needed_columns(dataset, request)
    rows = [
        (entry, view, int(first) + view)
        for entry, first in zip(all_entries, first_images(all_entries), strict=False)
        if entry.id in wanted
        for view in evaluation_views(entry, config.eval_views)
    ][rank::world]
    size = batch_size or config.batch_size
    for start in range(0, len(rows), size):
        yield collate(
            [
                _sample(
                    dataset,
                    columns,
                    entry.id,
                    view,
                    image,
                    request,
                    categories,
                    numpy_generator(seed, entry.id, view, "evaluation"),
                )
                for entry, view, image in rows[start : start + size]
            ]
        )
