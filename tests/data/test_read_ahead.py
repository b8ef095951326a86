"""Shards of the next window are copied ahead, and the disk cache is used only where it holds two windows."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from raylift.config.data import DataConfig
from raylift.core.storage import Storage
from raylift.core.types import SampleRequest
from raylift.data.feed.read_ahead import CACHE_BYTES, ShardsAhead, with_own_caches
from raylift.data.feed.stream import SampleStream
from raylift.data.prepare.ingest import ingest
from raylift.data.shapes.config import TINY
from raylift.data.sources.procedural import ProceduralSource
from raylift.data.store.dataset import ShardedDataset
from raylift.data.store.shard_cache import ShardCache


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ShardedDataset:
    """Seven objects in as many shards."""
    folder = tmp_path_factory.mktemp("shards")
    small = replace(TINY, num_views=2, samples=200, iou_points=300, surface_points=200, objects_per_shard=1)
    ingest([ProceduralSource(7, seed=5)], str(folder), small, parallel="none")
    return ShardedDataset.open(folder)


def stream_of(dataset: ShardedDataset, window: int | None) -> SampleStream:
    return SampleStream(dataset, SampleRequest(16), DataConfig(batch_size=1, shuffle_window=window), seed=3)


def copied(folder: Path) -> set[str]:
    return {path.name.split("-", 1)[1] for path in folder.glob("*-*.parquet")}


def test_the_next_window_is_copied_before_its_samples_are_read(tiny: ShardedDataset, tmp_path: Path) -> None:
    stream = stream_of(tiny.reader(0, ShardCache(tmp_path, 1 << 30)), 1)
    ahead = ShardsAhead(stream)
    ahead.note(1)  # no table is known yet
    assert copied(tmp_path) == set()
    stream.sample(0)
    read = copied(tmp_path)
    assert len(read) == 2  # the views and pixels of one shard
    ahead.note(1)
    ahead.note(1)
    ahead._threads.shutdown(wait=True)
    expected = {stream.shard(index)[1] for index in range(1 + stream.rows_per_window)}
    assert len(expected) > 1
    names = {file.name for shard in expected for file in tiny.manifest.shards[shard][1:]}
    assert copied(tmp_path) == names


def test_without_a_cache_nothing_is_copied(tiny: ShardedDataset) -> None:
    stream = stream_of(tiny, 1)
    stream.sample(0)
    ahead = ShardsAhead(stream)
    ahead.note(1)
    assert ahead._asked == {}


def test_only_a_remote_set_whose_windows_fit_is_cached(
    shards: ShardedDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, one = stream_of(shards, None), stream_of(shards, 1)
    assert one.num_objects > 3
    assert one.window_bytes < whole.window_bytes
    gib = (one.window_bytes + 1) / 2**30
    assert with_own_caches(one, 2, gib, str(tmp_path)).dataset.shard_cache is None  # it is local already
    monkeypatch.setattr(Storage, "is_local", property(lambda storage: False))
    with caplog.at_level(logging.WARNING):
        cached = with_own_caches(one, 2, gib, str(tmp_path)).dataset
        assert cached.shard_cache is not None
        assert cached.shard_cache.folder == tmp_path
        assert cached.cache_bytes == CACHE_BYTES // 2
        assert with_own_caches(one, 2, 0.0).dataset.shard_cache is None  # asked for
        assert caplog.records == []
        assert with_own_caches(whole, 2, gib).dataset.shard_cache is None
    assert "set data.shuffle_window" in caplog.text
    assert with_own_caches(one, 2, gib).sample(2)["rgba"].tobytes() == one.sample(2)["rgba"].tobytes()
