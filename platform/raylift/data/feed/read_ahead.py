"""Shards are copied to the node's disk ahead of need: the stream knows which rows come next."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from raylift.core.errors import RayliftError
from raylift.data.feed.stream import SampleStream
from raylift.data.store.shard_cache import ShardCache, default_folder

logger = logging.getLogger(__name__)

CACHE_BYTES = 2 << 30
"""Decoded images and packed arrays that the loaders of one worker keep in memory, together."""


class ShardsAhead:
    """Copies the shards of the next window in the background. Does nothing for a data set without a shard cache."""

    def __init__(self, stream: SampleStream) -> None:
        self._stream = stream
        self._next = 0
        self._asked: dict[int, set[int]] = {}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="shards-ahead")

    def note(self, index: int) -> None:
        """The rows before ``index`` are being read: copy what comes within a window after them."""
        # Only the tables that samples read; none is known before the first sample.
        tables = self._stream.dataset.tables_read
        if self._stream.dataset.shard_cache is None or not tables:
            return
        self._next = max(self._next, index)
        while self._next < index + self._stream.rows_per_window:
            epoch, shard = self._stream.shard(self._next)
            self._next += 1
            if epoch not in self._asked:
                self._asked = {epoch: set(), epoch - 1: self._asked.get(epoch - 1, set())}
            if shard not in self._asked[epoch]:
                self._asked[epoch].add(shard)
                for table in tables:
                    self._threads.submit(self._fetch, shard, table)

    def _fetch(self, shard: int, table: int) -> None:
        with suppress(RayliftError):  # the reader meets it, too, and says so
            self._stream.dataset.fetch(shard, table)


def with_own_caches(stream: SampleStream, num_loaders: int, cache_gib: float, cache_folder: str = "") -> SampleStream:
    """The same stream for one of a worker's loaders: its share of the memory, and a disk cache if the data set is
    remote.

    The disk cache holds whole shards, so it must hold this window's and the next one's; otherwise each sample could
    fetch a shard. Then objects are read one by one instead, and a warning says so.
    """
    dataset = stream.dataset
    cache = None
    if not dataset.storage.is_local and cache_gib:
        needed = stream.window_bytes
        if needed <= cache_gib * 2**30:
            cache = ShardCache(Path(cache_folder) if cache_folder else default_folder(), int(cache_gib * 2**30))
        else:
            window = "the data set" if stream.config.shuffle_window is None else "two windows of its shuffle"
            logger.warning(
                "%s is not cached on disk: %s takes %.1f GiB of scale.cache_gib=%g, so objects are read one by one;"
                " set data.shuffle_window (to fewer shards) or a larger scale.cache_gib",
                dataset.uri,
                window,
                needed / 2**30,
                cache_gib,
            )
    return stream.reading(dataset.reader(CACHE_BYTES // max(1, num_loaders), cache))
