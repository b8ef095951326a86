"""The two-level shuffle: each object once an epoch, in windows of shards, the same for any ranks and any start."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from raylift.config.data import DataConfig
from raylift.core.errors import ConfigError
from raylift.core.generators import numpy_generator
from raylift.core.types import SampleRequest
from raylift.data.feed.order import EpochOrder
from raylift.data.feed.stream import SampleStream
from raylift.data.store.dataset import ShardedDataset

SHARDS = [3, 0, 0, 7, 3, 3, 1, 9, 9, 1, 0, 7, 5]


@pytest.mark.parametrize("window", [None, 6, 100])
def test_a_window_of_everything_is_the_plain_permutation(window: int | None) -> None:
    order = EpochOrder(SHARDS, window, seed=4)
    for epoch in range(3):
        plain = numpy_generator(4, epoch, "order").permutation(len(SHARDS))
        np.testing.assert_array_equal(order.order(epoch), plain)
    assert order.num_windows == 1


@pytest.mark.parametrize("window", [1, 2, 4, 5])
def test_each_object_once_and_each_shard_in_one_window(window: int) -> None:
    order = EpochOrder(SHARDS, window, seed=4)
    firsts = set()
    for epoch in range(6):
        drawn = order.order(epoch)
        assert sorted(drawn) == list(range(len(SHARDS)))
        # The shards come in as many runs as there are windows, of ``window`` shards each.
        remaining, num_windows = [SHARDS[index] for index in drawn], 0
        while remaining:
            counts = Counter(SHARDS)
            inside = list(dict.fromkeys(remaining))[:window]
            size = sum(counts[shard] for shard in inside)
            assert set(remaining[:size]) == set(inside)
            remaining, num_windows = remaining[size:], num_windows + 1
        assert num_windows == order.num_windows
        firsts.add(tuple(drawn))
        np.testing.assert_array_equal(drawn, EpochOrder(SHARDS, window, seed=4).order(epoch))
    assert len(firsts) == 6
    assert not np.array_equal(order.order(0), EpochOrder(SHARDS, window, seed=5).order(0))


def test_objects_mix_within_a_window_and_windows_over_epochs() -> None:
    order = EpochOrder(np.repeat(np.arange(20), 10).tolist(), 4, seed=0)
    places, together = np.zeros(200), 0
    for epoch in range(100):
        drawn = order.order(epoch)
        places[drawn] += np.arange(200) / 100
        together += int(len(set(drawn[:40] // 10) & {0, 1}) == 2)
    # Every object is on average in the middle of the epoch, and two shards share the first window by chance (3 in 95).
    assert np.abs(places - 99.5).max() < 25
    assert 0 <= together < 15
    inside = order.order(0)[:40] // 10
    assert len(set(inside[:10])) == 4


@pytest.mark.parametrize("window", [None, 1, 2])
def test_the_stream_is_the_same_for_any_number_of_ranks_and_any_start(tiny: ShardedDataset, window: int | None) -> None:
    config = DataConfig(batch_size=5, shuffle_window=window)
    whole = SampleStream(tiny, SampleRequest(16), config, seed=3)
    steps = 2 * whole.num_objects // 5
    alone = [batch.keys for batch in whole.batches(0, 1, 0, steps)]
    for world in (2, 4):
        streams = [SampleStream(tiny, SampleRequest(16), config, seed=3) for _ in range(world)]
        parts = [list(stream.batches(rank, world, 1, steps)) for rank, stream in enumerate(streams)]
        for step in range(1, steps):
            assert torch.equal(torch.cat([part[step - 1].keys for part in parts]), alone[step])
    counts = Counter(whole.row(index).object_id for index in range(3 * whole.num_objects))
    assert set(counts.values()) == {3}
    assert len(counts) == whole.num_objects


def test_a_window_needs_few_shards_at_a_time(tiny_folder: Path) -> None:
    tiny = ShardedDataset.open(tiny_folder)
    stream = SampleStream(tiny, SampleRequest(16), DataConfig(shuffle_window=1), seed=3)
    shards = [tiny.entry(stream.row(index).object_id).shard for index in range(stream.num_objects)]
    assert len(set(shards)) > 1
    changes = sum(one != other for one, other in pairwise(shards))
    assert changes == len(set(shards)) - 1


def test_no_window_has_one_spelling_and_a_negative_one_is_refused() -> None:
    assert DataConfig(shuffle_window=0) == DataConfig()
    with pytest.raises(ConfigError, match=r"shuffle_window is -1"):
        DataConfig(shuffle_window=-1)
